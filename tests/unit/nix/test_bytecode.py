from pathlib import Path
from typing import Literal

import pytest

from nix.bytecode import Archive, Interpreter, add
from nix.index import Package
from nix.layout import FOLDER, Entry
from tests.unit.nix.packages import make_index, paragraph


def package(name: str, **fields: str) -> Package:
    found = make_index(paragraph(name, **fields)).package(name)
    assert found
    return found


PYTHON = Interpreter("python3.11", [package("libpython3.11-stdlib")])
(DIGEST,) = (one.sha256 for one in PYTHON.packages)


def files(*paths: str) -> list[tuple[str, Entry]]:
    return [(path, Entry("file", f"/tree/files/{path}")) for path in paths]


def test_modules_are_those_that_this_python_imports() -> None:
    paths = [
        "usr/lib/python3.11/json/__init__.py",
        "usr/lib/python3.11/test.txt",
        "usr/lib/python3/dist-packages/numpy/linalg.py",
        "usr/lib/python3/dist-packages/numpy/tests/test_linalg.py",
        "usr/lib/python3.12/json/__init__.py",
        "usr/share/doc/example.py",
    ]
    link = ("usr/lib/python3/link.py", Entry("link", "/dev/zero"))
    assert PYTHON.modules({"other": [*files(*paths), link], "none": files("usr/bin/sh")}) == {
        "other": [paths[0], paths[2]]
    }


def test_a_module_at_a_path_of_the_python_s_own_is_left_to_the_environment() -> None:
    own, new = "usr/lib/python3.11/py_compile.py", "usr/lib/python3.11/other.py"
    found = PYTHON.modules({DIGEST: files(own), "evil": files(own, new)})
    assert found == {DIGEST: [own], "evil": [new]}


FOLDER_OF_MODULES = "usr/lib/python3/dist-packages"


def with_bytecode(folder: Path, *modules: str) -> tuple[Archive, Path]:
    """An archive with these modules, and the tree of their bytecode."""
    paths = [f"{FOLDER_OF_MODULES}/{name}.py" for name in modules]
    for path in paths:
        cache = (folder / "files" / path).parent / "__pycache__"
        cache.mkdir(parents=True, exist_ok=True)
        (cache / f"{Path(path).stem}.cpython-311.pyc").touch()
    return Archive(package("evil"), Path("/tree"), dict(files(*paths)), paths), folder


def test_bytecode_goes_to_the_modules_that_the_environment_has(tmp_path: Path) -> None:
    archive, tree = with_bytecode(tmp_path, "mine", "replaced", "gone")
    mine, replaced, _ = archive.modules
    layout = {**dict(files(mine)), replaced: Entry("file", "/elsewhere")}
    assert add(layout, archive, tree) == [mine]
    added = f"{FOLDER_OF_MODULES}/__pycache__/mine.cpython-311.pyc"
    assert layout[added] == Entry("file", f"{tree}/files/{added}")
    assert layout[f"{FOLDER_OF_MODULES}/__pycache__"] == FOLDER
    assert not any("replaced.cpython" in path for path in layout)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_bytecode_does_not_go_through_a_package_s_link(tmp_path: Path, kind: Literal["link", "file"]) -> None:
    archive, tree = with_bytecode(tmp_path, "mine")
    cache = f"{FOLDER_OF_MODULES}/__pycache__"
    layout = {**archive.entries, cache: Entry(kind, "/etc")}
    before = dict(layout)
    assert add(layout, archive, tree) == []
    assert layout == before


def test_another_python_has_other_bytecode() -> None:
    other = Interpreter("python3.11", [package("libpython3.11-stdlib", SHA256="f" * 64)])
    one = package("python3-numpy")
    assert PYTHON.tree_of(one) != other.tree_of(one)
