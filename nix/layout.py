"""The files of an environment: which file of which unpacked archive stands at which path. Pure decisions.

A layout maps paths, relative and without `.` and `..`, to entries; the parent of each path is a folder of it.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_MOST_LINKS = 40
"""Symbolic links on the way to one path, as the kernel's MAXSYMLINKS."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a tree."""

    kind: Literal["folder", "file", "link"]
    source: str = ""
    """Path on this host of the file to hard-link; or target of the symbolic link; empty for folders."""


Tree = Iterable[tuple[str, Entry]]
"""Paths with their entries, parents first."""
Layout = Mapping[str, Entry]

FOLDER = Entry("folder")
SKELETON: Layout = (
    dict.fromkeys(("etc", "usr", "var", "var/lib", "var/tmp"), FOLDER)
    | {f"usr/{name}": FOLDER for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin")}
    | {name: Entry("link", f"usr/{name}") for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin")}
)
"""Folders and links that every environment has. Files of /bin and /usr/bin share a folder, as in Debian."""


def scan(folder: Path) -> Iterator[tuple[str, Entry]]:
    """Yield the folders, files and links below a folder, parents first, in the order of their names.

    Raises:
        NotADirectoryError: it is something else than a folder, such as a link to one.
    """
    if folder.is_symlink():
        raise NotADirectoryError(f"{folder} is a link")
    pending = [(str(folder), "")]
    while pending:
        place, path = pending.pop()
        with os.scandir(place) as found:
            children = sorted(found, key=lambda child: child.name)
        for child in children:
            below = f"{path}/{child.name}" if path else child.name
            if child.is_symlink():
                yield below, Entry("link", os.readlink(child.path))  # noqa: PTH115 - Path changes targets
            elif child.is_dir():
                yield below, FOLDER
                pending.append((child.path, below))
            elif child.is_file():
                yield below, Entry("file", child.path)


def merge(trees: Iterable[Tree]) -> dict[str, Entry]:
    """Return the layout of trees that are unpacked one over the other, by the rules of dpkg.

    Of two files at one path the later one counts. A folder stays if a later tree has a link or file there. A
    link to a folder stays if a later tree has a folder there, whose files then are in the folder that the
    link leads to.
    """
    layout = dict(SKELETON)
    for tree in trees:
        places = {"": ""}  # folders of this tree, with their places in the layout
        for path, entry in tree:
            parent, _, name = path.rpartition("/")
            if parent not in places:
                continue  # its parent is no folder here
            place = f"{places[parent]}/{name}" if places[parent] else name
            present = layout.get(place)
            if entry.kind != "folder":
                if present is None or present.kind != "folder":
                    layout[place] = entry
            elif present is not None and (leads_to := _folder_at(layout, place)) is not None:
                places[path] = leads_to
            else:
                layout[place] = entry
                places[path] = place
    return layout


def change(layout: Layout, left: Collection[str], written: Tree) -> dict[str, Entry]:
    """Return a layout after all paths but those `left` were removed and a tree was written over it.

    Each path of the tree takes the place of what was there, with all that was below.
    """
    changed = {path: entry for path, entry in layout.items() if path in left}
    for path, entry in written:
        if entry.kind != "folder" or changed.get(path) != FOLDER:
            changed[path] = entry
    return _connected(changed)


def not_folders(layout: Layout, paths: Iterable[str]) -> list[str]:
    """Return those of the paths that are no folders in a layout."""
    return [path for path in paths if layout.get(path, Entry("file")).kind != "folder"]


def _folder_at(layout: Layout, path: str) -> str | None:
    """Return the folder that a path is, or that its links lead to; None if there is none."""
    pending, place = path.split("/")[::-1], ""
    links = 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = place.rpartition("/")[0]
            continue
        below = f"{place}/{name}" if place else name
        entry = layout.get(below)
        if entry is None or entry.kind == "file":
            return None
        if entry.kind == "folder":
            place = below
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        if entry.source.startswith("/"):
            place = ""
        pending += entry.source.split("/")[::-1]
    return place


def _connected(layout: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries whose parents are folders, in the order of their paths."""
    kept: dict[str, Entry] = {}
    for path in sorted(layout, key=lambda path: path.split("/")):
        parent = path.rpartition("/")[0]
        if not parent or (parent in kept and kept[parent].kind == "folder"):
            kept[path] = layout[path]
    return kept
