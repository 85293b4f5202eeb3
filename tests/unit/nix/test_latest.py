"""Which version of a package of PyPI a request without one gets."""

import json

import pytest
from packaging.requirements import Requirement

from nix.errors import CacheError, DependenciesError
from nix.registries.latest import pin_of
from nix.registries.listing import WheelTarget, installable

TARGET = WheelTarget("3.11.2", "2.36", "x86_64")


def listed(**files: dict[str, object]) -> tuple[str, ...]:
    page = {"files": [{"filename": name, "url": "x", "hashes": {}} | about for name, about in files.items()]}
    return installable(json.dumps(page).encode(), TARGET)


@pytest.mark.parametrize(
    "fits",
    [
        "py3-none-any",
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp39-abi3-manylinux_2_36_x86_64",
        "cp311-none-linux_x86_64",
    ],
)
def test_wheels_that_fit_count(fits: str) -> None:
    assert listed(**{f"a-1.0-{fits}.whl": {"yanked": False, "requires-python": ">=3.11.2"}}) == ("1.0",)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("a-1.0.tar.gz", {}),
        ("a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", {}),
        ("a-1.0-cp311-cp311-manylinux_2_37_x86_64.whl", {}),
        ("a-1.0-cp311-cp311-musllinux_1_1_x86_64.whl", {}),
        ("a-1.0-cp311-cp311-manylinux_2_17_aarch64.whl", {}),
        ("a-1.0-py2-none-any.whl", {}),
        ("a-1.0-py3-none-any.whl", {"yanked": "it is broken"}),
        ("a-1.0-py3-none-any.whl", {"requires-python": "<3.11"}),
        ("no wheel.whl", {}),
    ],
)
def test_other_files_do_not(name: str, about: dict[str, object]) -> None:
    assert listed(**{name: about}) == ()


def test_pages_in_html_are_read() -> None:
    link = '<a href="../f/a-{0}-py3-none-any.whl#sha256=0" {1}>file</a>'
    page = link.format("1.10", "") + link.format("1.9", 'data-requires-python="&gt;=3"')
    page += link.format("2.0", 'data-yanked=""') + link.format("3.0", 'data-requires-python="&gt;=3.12"')
    assert installable(f"<!DOCTYPE html><html>{page}</html>".encode(), TARGET) == ("1.10", "1.9")


@pytest.mark.parametrize(
    "page", [b'{"files": [{"filename": 1}]}', b"{", b'{"files": {}}', b"<![foo bar]>", b"<p><![1"]
)
def test_what_is_no_page_is_an_error_of_the_index(page: bytes) -> None:
    with pytest.raises(CacheError, match="no page of a simple index"):
        installable(page, TARGET)


@pytest.mark.parametrize(
    ("requirement", "pin"),
    [
        ("a", "a==2.1"),
        ("a[x]>=1,<2", "a[x]==1.9"),
        ("a~=1.2", "a==1.9"),
        ("a==1.*", "a==1.9"),
        ("a!=2.1", "a==2.0"),
        ("a>=3.0a0", "a==3.0rc1"),
    ],
)
def test_the_newest_version_that_is_allowed_is_pinned(requirement: str, pin: str) -> None:
    assert pin_of(Requirement(requirement), ("3.0rc1", "2.1", "2.0", "1.9"), TARGET) == pin


@pytest.mark.parametrize(
    ("requirement", "versions"), [("a>=4", ("3.0rc1", "2.1")), ("a", ("3.0rc1",)), ("a", ())]
)
def test_what_is_not_there_is_explained(requirement: str, versions: tuple[str, ...]) -> None:
    with pytest.raises(DependenciesError, match=r"no such version with a wheel for Python 3\.11\.2") as error:
        pin_of(Requirement(requirement), versions, TARGET)
    assert all(version in str(error.value) for version in versions)
