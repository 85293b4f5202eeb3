"""Disk space of folders whose files may have several names, there and elsewhere; each file counts once."""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK_BYTES = 512
"""Unit of `st_blocks` (stat(2))."""


@dataclass(slots=True)
class Inode:
    """One file, folder or symbolic link, with the number of its names."""

    size_bytes: int
    """Disk space that is allocated to it."""
    links: int
    """All names; 1 for folders."""
    names: int = 1
    """Names in the folder that was looked at."""


def allocated_bytes(status: os.stat_result) -> int:
    """Return the disk space of a file."""
    return status.st_blocks * _BLOCK_BYTES


def inodes(folder: Path) -> Collection[Inode]:
    """Return all that is below a folder; what another process removes meanwhile is left out."""
    found: list[Inode] = []
    linked: dict[int, Inode] = {}
    pending = [str(folder)]
    while pending:
        with suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        found.append(Inode(allocated_bytes(status), 1))
                    elif status.st_nlink == 1:
                        found.append(Inode(allocated_bytes(status), 1))
                    elif status.st_ino in linked:
                        linked[status.st_ino].names += 1
                    else:
                        linked[status.st_ino] = Inode(allocated_bytes(status), status.st_nlink)
    return [*found, *linked.values()]


def total_bytes(folder: Path) -> int:
    """Return the disk space of all that is below a folder."""
    return sum(inode.size_bytes for inode in inodes(folder))


def unshared_bytes(folder: Path) -> int:
    """Return the disk space of what has no names outside of a folder."""
    return sum(inode.size_bytes for inode in inodes(folder) if inode.links == inode.names)


def is_linked(folder: Path) -> bool:
    """Return whether a file below a folder has a name outside of it."""
    return any(inode.links > inode.names for inode in inodes(folder))
