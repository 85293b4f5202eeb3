from pathlib import Path

import pytest

from nix import farm
from nix.assembly import _apply, _left
from nix.errors import DependenciesError, LimitError
from nix.layout import SKELETON, Entry, scan

BYTES = 1 << 20
PATHS = sorted(SKELETON)


def changes(folder: Path, *left: str) -> Path:
    """The output of a build that wrote nothing and left these paths."""
    (folder / "changes/written").mkdir(parents=True)
    (folder / "changes/left").write_text("".join(f"./{path}\0" for path in left))
    return folder / "changes"


def apply(folder: Path, output: Path, environment_bytes: int = BYTES) -> dict[str, Entry]:
    tree = folder / "tree"
    tree.mkdir()
    farm.write(tree, {}, SKELETON)
    _apply(tree, SKELETON, output, environment_bytes)
    return dict(scan(tree))


def test_what_was_written_and_removed_is_applied(tmp_path: Path) -> None:
    output = changes(tmp_path, *(path for path in PATHS if path != "usr/libx32"))
    (output / "written/etc").mkdir()
    (output / "written/etc/new").write_text("new")
    files = apply(tmp_path, output)
    assert "etc/new" in files
    assert "usr/libx32" not in files


@pytest.mark.parametrize("name", ["written", "left"])
def test_links_in_the_output_of_a_build_are_not_followed(tmp_path: Path, name: str) -> None:
    output = changes(tmp_path, *PATHS)
    (output / name).rename(tmp_path / "elsewhere")
    (output / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((DependenciesError, NotADirectoryError)):
        apply(tmp_path, output)


def test_a_pipe_is_no_list(tmp_path: Path) -> None:
    output = changes(tmp_path)
    (output / "left").unlink()
    (output / "left").mkdir()
    with pytest.raises(DependenciesError, match="damaged the list"):
        apply(tmp_path, output)


def test_what_was_written_counts_into_the_size(tmp_path: Path) -> None:
    output = changes(tmp_path, *PATHS)
    (output / "written/large").write_bytes(bytes(BYTES + 1))
    with pytest.raises(LimitError, match="environment_bytes"):
        apply(tmp_path, output)


def test_a_list_of_other_names_costs_no_memory_and_a_long_name_is_refused(tmp_path: Path) -> None:
    output = changes(tmp_path, *PATHS, *(f"other{n}" for n in range(1000)))
    assert _left(output / "left", SKELETON) == set(PATHS)
    (output / "left").write_bytes(b"x" * (2 << 20))
    with pytest.raises(DependenciesError, match="damaged the list"):
        _left(output / "left", SKELETON)
