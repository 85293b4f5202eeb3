from pathlib import Path

from nix.bytecode import Interpreter, add
from nix.index import Package
from nix.layout import FOLDER, Entry
from tests.unit.nix.packages import make_index, paragraph


def package(name: str, **fields: str) -> Package:
    found = make_index(paragraph(name, **fields)).package(name)
    assert found
    return found


PYTHON = Interpreter("python3.11", [package("libpython3.11-stdlib")])
(DIGEST,) = (one.sha256 for one in PYTHON.packages)


def test_modules_are_those_that_this_python_imports() -> None:
    paths = [
        "usr/lib/python3.11/json/__init__.py",
        "usr/lib/python3.11/test.txt",
        "usr/lib/python3/dist-packages/numpy/linalg.py",
        "usr/lib/python3/dist-packages/numpy/tests/test_linalg.py",
        "usr/lib/python3.12/json/__init__.py",
        "usr/share/doc/example.py",
    ]
    assert PYTHON.modules({"other": paths, "none": ["usr/bin/sh"]}) == {"other": [paths[0], paths[2]]}


def test_a_module_at_a_path_of_the_python_s_own_is_left_to_the_environment() -> None:
    own, new = "usr/lib/python3.11/py_compile.py", "usr/lib/python3.11/other.py"
    found = PYTHON.modules({DIGEST: [own], "evil": [own, new]})
    assert found == {DIGEST: [own], "evil": [new]}


def test_bytecode_goes_to_the_modules_that_the_environment_has(tmp_path: Path) -> None:
    tree, bytecode = tmp_path / "tree", tmp_path / "bytecode"
    cache = bytecode / "files/usr/lib/python3/dist-packages/__pycache__"
    cache.mkdir(parents=True)
    for name in ("mine", "replaced"):
        (cache / f"{name}.cpython-311.pyc").touch()
    modules = [f"usr/lib/python3/dist-packages/{name}.py" for name in ("mine", "replaced", "gone")]
    layout = {
        "usr/lib/python3/dist-packages": FOLDER,
        modules[0]: Entry("file", f"{tree}/files/{modules[0]}"),
        modules[1]: Entry("file", f"/elsewhere/files/{modules[1]}"),
    }
    assert add(layout, modules, tree, bytecode) == [modules[0]]
    added = "usr/lib/python3/dist-packages/__pycache__/mine.cpython-311.pyc"
    assert layout[added] == Entry("file", f"{bytecode}/files/{added}")
    assert not any("replaced.cpython" in path for path in layout)


def test_another_python_has_other_bytecode() -> None:
    other = Interpreter("python3.11", [package("libpython3.11-stdlib", SHA256="f" * 64)])
    one = package("python3-numpy")
    assert PYTHON.tree_of(one) != other.tree_of(one)
