from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from nix.artifacts import ResolvedArtifact
from nix.contents import Contents, FilePath, SmallFile, manifest
from nix.resolve import closure
from tests.unit.nix.packages import make_index, paragraph

INDEX = make_index(paragraph("b", Depends="a"), paragraph("a"), paragraph("c"))
FILE = SmallFile(text="x")
NAMES = st.lists(st.sampled_from("abc"), min_size=1)


def key(*names: str, architecture: str = "amd64", **files: SmallFile) -> str:
    return Contents(closure(names, INDEX), architecture, files).key()


def test_the_manifest_has_a_line_for_each_archive_dependencies_first() -> None:
    packages = closure(["b"], INDEX)
    assert [package.name for package in packages] == ["a", "b"]
    assert manifest(packages).splitlines() == [f"{package.name} {package.sha256}" for package in packages]


@given(NAMES, st.randoms())
def test_order_repetition_and_what_is_brought_anyway_make_no_other_environment(
    names: list[str], random: Random
) -> None:
    spelled = names + names[:2] + (["a"] if "b" in names else [])
    random.shuffle(spelled)
    assert key(*names) == key(*spelled)


def test_all_else_does() -> None:
    keys = {
        key("a"),
        key("b"),
        key("a", architecture="arm64"),
        key("a", f=FILE),
        key("a", g=FILE),
        key("a", f=SmallFile(text="y")),
        key("a", f=SmallFile(text="x", executable=True)),
    }
    assert len(keys) == 7


def test_of_an_archive_its_hash_its_place_and_its_name_count() -> None:
    one = ResolvedArtifact("npm", "a", "1.0.0", "https://npm.test/a.tgz", "sha512:0", "node_modules/a")
    others = (one, replace(one, hash="b"), replace(one, place="b"), replace(one, name="b"))
    assert len({Contents([], "amd64", artifacts=[other]).key() for other in others}) == 4
    assert (
        Contents([], "amd64", artifacts=[replace(one, url="b")]).key()
        == Contents([], "amd64", artifacts=[one]).key()
    )


@given(st.dictionaries(st.sampled_from(["bin/a", "bin/b", "etc/c"]), st.just(FILE)), st.randoms())
def test_the_order_of_files_makes_no_other_environment(files: dict[str, SmallFile], random: Random) -> None:
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert Contents([], "amd64", files).key() == Contents([], "amd64", dict(shuffled)).key()


@pytest.mark.parametrize("path", ["bin/hello", "a", "share/a-b_c+d.e@f/g", "lib/x86_64-linux-gnu/y", "A/1"])
def test_plain_paths_are_taken(path: str) -> None:
    assert TypeAdapter(FilePath).validate_python(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *["", "/", "/bin/x", "bin/", "bin//x", ".", "..", "../x", "bin/../x", "bin/./x", "bin/..", ".x"],
        *["bin/.x", "a b", "a\n", "\n", "a\0", "é", "~", "$x", "a/*", "a\\b", "a:b", "a" * 201],
        "a/" * 8 + "a",
    ],
)
def test_others_are_not(path: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FilePath).validate_python(path)
