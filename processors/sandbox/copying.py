"""Copy of a box, file by file, into another one.

A hostile program may have arranged the original: no link is followed, and folders may be nested to any depth.
No process may run in either box meanwhile.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENXIO
from pathlib import Path

from processors.sandbox import mounts
from processors.sandbox.descriptors import closing


def copy_box(original: Path, copy: Path, uid: int) -> None:
    """Copy everything in one box into another, which is empty, as files of the user `uid`.

    Contents, holes, hard links, modes and modification times are kept; extended attributes are not, since
    the kernel does not count their memory.

    Raises:
        OSError: the copy does not fit, or the kernel refuses a step.
    """
    with closing(_open_root(original)) as source, closing(_open_root(copy)) as target:
        with _links(target) as links:
            _Copier(source, target, uid, links).run()
        _copy_attributes(source, target, uid)


def _open_root(box: Path) -> int:
    return os.open(box, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextmanager
def _links(root: int) -> Iterator[int]:
    """Yield a folder for a name of each file with hard links, by its inode number; remove it at the end."""
    name = secrets.token_hex()  # a hostile program had no chance to take it
    os.mkdir(name, 0o700, dir_fd=root)
    with closing(mounts.open_folder(root, name)) as folder:
        try:
            yield folder
        finally:
            with os.scandir(folder) as links:
                for link in links:
                    os.unlink(link.name, dir_fd=folder)
    os.rmdir(name, dir_fd=root)


class _Copier:
    """A walk through two trees at once; `..` leads back up, so depth costs no descriptors."""

    def __init__(self, source: int, target: int, uid: int, links: int) -> None:
        self._source, self._target = os.dup(source), os.dup(target)
        self._uid, self._links, self._linked = uid, links, set[int]()

    def run(self) -> None:
        """Copy all entries, depth first."""
        try:
            levels = [self._copy_entries()]
            while levels:
                if levels[-1]:
                    self._enter(levels[-1].pop())
                    levels.append(self._copy_entries())
                else:
                    levels.pop()
                    if levels:
                        self._leave()
        finally:
            os.close(self._source)
            os.close(self._target)

    def _copy_entries(self) -> list[str]:
        """Copy what is in the present folder, without its folders; return their names."""
        folders = list[str]()
        with os.scandir(self._source) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    self._copy(entry.name, entry.stat(follow_symlinks=False))
        return folders

    def _enter(self, name: str) -> None:
        os.mkdir(name, 0o700, dir_fd=self._target)
        self._move(mounts.open_folder(self._source, name), mounts.open_folder(self._target, name))

    def _leave(self) -> None:
        _copy_attributes(self._source, self._target, self._uid)
        self._move(_open_parent(self._source), _open_parent(self._target))

    def _move(self, source: int, target: int) -> None:
        os.close(self._source)
        os.close(self._target)
        self._source, self._target = source, target

    def _copy(self, name: str, state: os.stat_result) -> None:
        link = str(state.st_ino)
        if state.st_ino in self._linked:
            os.link(link, name, src_dir_fd=self._links, dst_dir_fd=self._target, follow_symlinks=False)
            return
        if stat.S_ISREG(state.st_mode):
            self._copy_file(name)
        else:
            self._copy_special(name, state)
        if state.st_nlink > 1:
            os.link(name, link, src_dir_fd=self._target, dst_dir_fd=self._links, follow_symlinks=False)
            self._linked.add(state.st_ino)

    def _copy_file(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            closing(mounts.open_regular(self._source, name)) as source,
            closing(os.open(name, flags, 0o600, dir_fd=self._target)) as target,
        ):
            _copy_content(source, target)
            _copy_attributes(source, target, self._uid)

    def _copy_special(self, name: str, state: os.stat_result) -> None:
        """Copy a symbolic link, or a FIFO, a socket or another node without content."""
        if stat.S_ISLNK(state.st_mode):
            os.symlink(os.readlink(name, dir_fd=self._source), name, dir_fd=self._target)
        else:
            os.mknod(name, state.st_mode, state.st_rdev, dir_fd=self._target)
            os.chmod(name, stat.S_IMODE(state.st_mode), dir_fd=self._target)  # without the umask
        os.chown(name, self._uid, self._uid, dir_fd=self._target, follow_symlinks=False)
        times = (state.st_atime_ns, state.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=self._target, follow_symlinks=False)


def _open_parent(folder: int) -> int:
    return os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)


def _copy_content(source: int, target: int) -> None:
    """Copy the data of a file; its holes stay holes."""
    size = os.fstat(source).st_size
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != ENXIO:
                raise
            break  # only a hole is left
        end = os.lseek(source, at, os.SEEK_HOLE)
        os.lseek(target, at, os.SEEK_SET)
        while at < end:
            at += os.sendfile(target, source, at, end - at)
    os.ftruncate(target, size)


def _copy_attributes(source: int, target: int, uid: int) -> None:
    state = os.fstat(source)
    os.fchown(target, uid, uid)
    os.fchmod(target, stat.S_IMODE(state.st_mode))  # after the owner, whose change clears setuid
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
