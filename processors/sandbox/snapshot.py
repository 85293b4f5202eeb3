"""Snapshot of a box as one archive, so that the result of a compilation can be used again.

The program may have been hostile: no link is followed, only folders, files and symbolic links are kept, and
their number and size are bounded. No process may run in the box meanwhile.
"""

import io
import mmap
import os
import stat
import tarfile
from pathlib import Path

from processors.sandbox import mounts
from processors.sandbox.descriptors import closing

MAX_BYTES = 32 << 20
"""Size of all files together, in whole pages; a sparse file counts with its full length."""
MAX_ENTRIES = 4096
"""Files, folders and links in a snapshot."""
MAX_DEPTH = 32
"""Depth of nested folders; one descriptor is open for each level."""
MAX_PATH_BYTES = 2048
"""Length of a path in the box. The kernel accepts 4095 bytes, and paths on the host are longer."""


class SnapshotError(Exception):
    """A snapshot cannot be made or extracted; the message has the reason."""


def snapshot(box: Path) -> bytes:
    """Return the content of a box as a tar archive.

    Raises:
        SnapshotError: the content is too large, has files that an archive cannot hold, or cannot be read.
    """
    into = io.BytesIO()
    with (
        tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive,
        closing(os.open(box, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as folder,
    ):
        try:
            _add_folder(archive, _Budget(box), folder, "", MAX_DEPTH)
        except OSError as error:  # a fault of the host: no program can cause it
            raise SnapshotError(f"a file cannot be read: {error}") from error
    return into.getvalue()


def restore(content: bytes, box: Path, uid: int) -> None:
    """Extract an archive of `snapshot` into an empty box, as files of the user `uid`.

    The archive is trusted: no member of it has a symbolic link as its parent.

    Raises:
        SnapshotError: the extraction failed; a part of the content may be there.
    """
    try:
        _extract(content, box, uid)
    except (OSError, tarfile.TarError) as error:
        raise SnapshotError(f"a snapshot cannot be extracted: {error}") from error


def _extract(content: bytes, box: Path, uid: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        for member in members:
            member.uid = member.gid = uid
        # The filter of newer Pythons refuses links out of the box, which programs may have made.
        archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        archive.extractall(box, members, numeric_owner=True)  # noqa: S202 - `snapshot` made it, see `restore`


class _Budget:
    """Budget of bytes and entries of a snapshot, which must fit into such a box again."""

    def __init__(self, box: Path) -> None:
        size = os.statvfs(box)
        self._bytes = self._max_bytes = min(MAX_BYTES, size.f_blocks * size.f_frsize)
        self._entries = MAX_ENTRIES

    def spend(self, size_bytes: int) -> None:
        self._bytes -= -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._entries -= 1
        if self._bytes < 0:
            raise SnapshotError(f"more than {self._max_bytes} bytes")
        if self._entries < 0:
            raise SnapshotError(f"more than {MAX_ENTRIES} files")


def _add_folder(archive: tarfile.TarFile, budget: _Budget, folder: int, path: str, depth: int) -> None:
    if depth == 0:
        raise SnapshotError(f"more than {MAX_DEPTH} folders in each other")
    with os.scandir(folder) as entries:
        for entry in entries:
            _add(archive, budget, folder, entry, path, depth)


def _add(
    archive: tarfile.TarFile, budget: _Budget, folder: int, entry: "os.DirEntry[str]", path: str, depth: int
) -> None:
    state = entry.stat(follow_symlinks=False)
    member = tarfile.TarInfo(path + entry.name)
    if len(os.fsencode(member.name)) > MAX_PATH_BYTES:
        raise SnapshotError(f"a path of more than {MAX_PATH_BYTES} bytes")
    member.mode, member.mtime = state.st_mode & 0o777, state.st_mtime
    if stat.S_ISDIR(state.st_mode):
        budget.spend(0)
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
        with closing(mounts.open_folder(folder, entry.name)) as below:
            _add_folder(archive, budget, below, f"{member.name}/", depth - 1)
    elif stat.S_ISLNK(state.st_mode):
        budget.spend(state.st_size)
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(entry.name, dir_fd=folder)
        archive.addfile(member)
    elif stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
        budget.spend(state.st_size)
        member.size = state.st_size
        with open(mounts.open_regular(folder, entry.name), "rb") as file:
            archive.addfile(member, file)
    else:
        raise SnapshotError("a hard link, or neither a file, a folder nor a symbolic link")
