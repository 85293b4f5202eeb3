"""Folders of hard links, made after a layout. Nothing here follows a link that an archive brought."""

import errno
import os
import shutil
from pathlib import Path

from nix.layout import FOLDER, Entry, Layout

_ANOTHER_COPY = (errno.EXDEV, errno.EMLINK)
"""Errors of link(2) after which a copy is made: another file system, or no more links of this file."""


def write(folder: Path, before: Layout, after: Layout) -> None:
    """Turn the files of a folder, which are those of the layout `before`, into those of `after`.

    Every entry is created in a folder that this function created itself, never below a link.

    Raises:
        ValueError: the parent of a path is no folder of the layout.
    """
    root = str(folder)
    for path in after:
        parent = path.rpartition("/")[0]
        if parent and after.get(parent) != FOLDER:
            raise ValueError(f"the parent of {path!r} is no folder")
    for path in sorted(before, reverse=True):
        if not _stays(before[path], after.get(path)):
            _remove(Path(root, path), before[path])
    for path in sorted(after, key=lambda path: path.split("/")):
        if not _stays(before.get(path), after[path]):
            _create(Path(root, path), after[path])


def seal(folder: Path, layout: Layout) -> None:
    """Give folders and links the modes and times that Nix gives them; files have these already."""
    root = str(folder)
    for path, entry in layout.items():
        if entry.kind == "link":
            os.utime(f"{root}/{path}", (1, 1), follow_symlinks=False)
        elif entry.kind == "folder":
            _seal_folder(Path(root, path))
    _seal_folder(folder)


def _seal_folder(place: Path) -> None:
    place.chmod(0o555)
    os.utime(place, (1, 1))


def _stays(before: Entry | None, after: Entry | None) -> bool:
    return before is not None and before == after


def _remove(place: Path, entry: Entry) -> None:
    if entry.kind == "folder":
        place.rmdir()
    else:
        place.unlink()


def _create(place: Path, entry: Entry) -> None:
    if entry.kind == "folder":
        place.mkdir()
        place.chmod(0o755)  # whatever the umask: build users read it
    elif entry.kind == "link":
        place.symlink_to(entry.source)
    else:
        try:
            os.link(entry.source, place)
        except OSError as error:
            if error.errno not in _ANOTHER_COPY:
                raise
            shutil.copy2(entry.source, place, follow_symlinks=False)
