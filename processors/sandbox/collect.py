"""Collection of output files from a box, whose content a hostile program may have arranged.

It starts after all processes of the program have ended.
"""

import heapq
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox import mounts
from processors.sandbox.descriptors import closing
from processors.sandbox.patterns import (
    Rests,
    advance,
    first_matched,
    needs_listing,
    plain_names,
    rests_of,
    unmatched,
)
from topics.request.file_names import PATH_BYTES
from topics.request.output_patterns import OUTPUT_DEPTH, OUTPUT_FILE_BYTES, OUTPUT_FILES

WALK_ENTRIES = 100_000
"""Directory entries that are examined at most: about as many as the largest box can hold."""
WALK_S = 2.0
"""Limit on the duration of a search, and the default limit on its CPU time."""
WALK_LEAST_S = 0.1
"""CPU time that a search may always take, even if the program left less of its own limit."""


@dataclass(frozen=True, slots=True)
class CollectedFile:
    """Regular file in a box, with its content."""

    name: str
    size_bytes: int
    content: bytes | None
    """Content, or None if the file exceeds the limit of an output file or the rest of `room_bytes`."""


@dataclass(frozen=True, slots=True)
class Collected:
    """Files that match the patterns, ordered by pattern, then by name."""

    files: Sequence[CollectedFile] = ()
    complete: bool = True
    """True if all matching files are included. A file is left out if its path is too long, too deep or not
    UTF-8."""
    cpu_time_s: float = 0.0
    """CPU time of the search and of reading the files."""


def collect(box: Path, patterns: Sequence[str], room_bytes: int, cpu_time_s: float = WALK_S) -> Collected:
    """Return the files of a box that match `patterns`, with `room_bytes` of content at most.

    The call blocks, for seconds at worst. The search takes `cpu_time_s` of this thread's CPU time at most, or
    WALK_LEAST_S if that is more.

    Raises:
        OSError: the box cannot be opened.
    """
    before_s = time.thread_time()
    with closing(os.open(box, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        walk = _Walk(root, before_s + max(cpu_time_s, WALK_LEAST_S))
        found = heapq.nsmallest(OUTPUT_FILES + 1, walk.files(patterns))
        files = []
        for _, name in found[:OUTPUT_FILES]:
            try:
                file = _read(root, name, min(room_bytes, OUTPUT_FILE_BYTES))
            except OSError:
                walk.complete = False
                continue
            files.append(file)
            room_bytes -= len(file.content or b"")
        complete = walk.complete and len(found) <= OUTPUT_FILES
        return Collected(files, complete, time.thread_time() - before_s)


def _read(root: int, name: str, max_bytes: int) -> CollectedFile:
    with open(mounts.open_regular(root, name), "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        content = file.read(size_bytes) if size_bytes <= max_bytes else None
    return CollectedFile(name, size_bytes, content)


class _Walk:
    """Traversal of a tree by descriptors, through no link, bounded in time, entries and depth."""

    def __init__(self, root: int, until_thread_time_s: float) -> None:
        self._root = root
        self._until_thread_time_s = until_thread_time_s
        self._entries_left = WALK_ENTRIES
        self._deadline = time.monotonic() + WALK_S
        self.complete = True

    def files(self, patterns: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield each matching regular file, with the number of the first pattern that it matches."""
        return self._below(".", "", rests_of(patterns), 0)

    def _below(self, folder: str, prefix: str, rests: Rests, depth: int) -> Iterator[tuple[int, str]]:
        try:
            descriptor = mounts.open_folder(self._root, folder)
        except OSError:
            self.complete = False
            return
        with closing(descriptor):
            for name, mode in self._entries(descriptor, rests):
                path, after = prefix + name, advance(rests, name)
                number, deeper = first_matched(after), unmatched(after)
                wanted_file = stat.S_ISREG(mode) and number is not None
                wanted_folder = stat.S_ISDIR(mode) and deeper
                if not (wanted_file or wanted_folder):
                    continue
                if depth > OUTPUT_DEPTH or not _is_valid(path):
                    self.complete = False
                elif wanted_folder:
                    yield from self._below(path, f"{path}/", deeper, depth + 1)
                elif number is not None:
                    yield number, path

    def _entries(self, folder: int, rests: Rests) -> Iterator[tuple[str, int]]:
        """Yield each name in a folder that may match, once, with the type of the file."""
        plain = plain_names(rests)
        for name in sorted(plain):
            try:
                yield name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            except OSError:
                continue
        if not needs_listing(rests):
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                self._entries_left -= 1
                if self._entries_left < 0 or self._is_late():
                    self.complete = False
                    return
                if entry.name not in plain:
                    yield entry.name, _kind(entry)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline or time.thread_time() > self._until_thread_time_s


def _kind(entry: "os.DirEntry[str]") -> int:
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def _is_valid(path: str) -> bool:
    try:
        return len(path.encode()) <= PATH_BYTES
    except UnicodeEncodeError:
        return False
