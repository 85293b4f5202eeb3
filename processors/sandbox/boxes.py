"""Box: a file system of bounded size that a program sees as /box."""

import asyncio
import errno
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from processors.sandbox import mounts, snapshot
from processors.sandbox.collect import WALK_S, Collected, collect
from processors.sandbox.copying import copy_box
from processors.sandbox.descriptors import release_unreachable
from processors.sandbox.model import BoxTooSmallError, Command, Completed, Rootfs, SandboxError
from processors.sandbox.stage import shielded
from topics.request.limits import RunLimits

FEW_FILES = 32
"""Files that are written, copied or removed on the event loop. More take a thread: they may be thousands."""
SMALL_BYTES = 1 << 20
"""Content of a box that is copied or removed on the event loop, with that many files at most."""

Runner = Callable[["Box", Command, Rootfs, RunLimits], Awaitable[Completed]]


class Box:
    """Folder of bounded size that programs run in, as /box; made by Sandboxes.box and Box.fork."""

    def __init__(self, path: Path, uid: int, runner: Runner) -> None:
        self.path = path
        """Mount point on the host."""
        self.uid = uid
        """User id, on the host, that owns the box and that its programs run as."""
        self._runner = runner
        self._forks = itertools.count()
        self._copying = 0

    async def run(self, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        """Run `command` in /box and return when no process of it is left; cancellation kills them all.

        Raises:
            SandboxError: the sandbox could not be set up.
            ValueError: `command` has no program, or a NUL in an argument or a variable.
            RuntimeError: this box is being copied.
        """
        if self._copying:
            raise RuntimeError("a box must not change while it is copied")
        return await self._runner(self, command, rootfs, limits)

    @asynccontextmanager
    async def fork(self, limits: RunLimits) -> AsyncIterator["Box"]:
        """Yield a copy of this box; what is added to it is bounded by `limits`.

        Raises:
            SandboxError: the box could not be made or removed.
        """
        copy = Box(self.path.with_name(f"{self.path.name}-{next(self._forks)}"), self.uid, self._runner)
        async with place_to_mount(copy.path):
            self._copying += 1
            try:
                if _is_small(self.path):
                    self._copy(copy, limits)
                else:
                    await shielded(asyncio.to_thread(self._copy, copy, limits))
            finally:
                self._copying -= 1
            yield copy

    def _copy(self, copy: "Box", limits: RunLimits) -> None:
        held = os.statvfs(self.path)
        held_bytes, held_files = (held.f_blocks - held.f_bfree) * held.f_frsize, held.f_files - held.f_ffree
        # While files are copied, each hard link may have one more name.
        mounts.mount_box(
            copy.path, self.uid, held_bytes + limits.box_bytes, 2 * held_files + limits.box_files
        )
        try:
            copy_box(self.path, copy.path, self.uid)
        except OSError as error:
            raise SandboxError(f"a box cannot be copied: {error}") from error
        copy.make_room(limits)

    def make_room(self, limits: RunLimits) -> None:
        """Bound by `limits` what is added from now on.

        A program then has as much room as in a fork, whose copy is saved if the box is not needed afterwards.

        Raises:
            SandboxError: the box could not be mounted again.
        """
        mounts.resize_box(self.path, limits.box_bytes, limits.box_files)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of a regular file, following no link.

        Raises:
            OSError: there is no such regular file, or it is larger than `max_bytes`.
        """
        folder = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor = mounts.open_regular(folder, name)
        finally:
            os.close(folder)
        with open(descriptor, "rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", name)
        return content

    async def collect(
        self, patterns: Sequence[str], room_bytes: int, cpu_time_s: float = WALK_S
    ) -> Collected:
        """Return the regular files that match `patterns`, following no link, `room_bytes` of content at most.

        The client chose the patterns and the program made the tree, so the search is charged to the
        submission. It takes about `cpu_time_s` at most; the result has the CPU time that it took.
        """
        if not patterns:
            return Collected()
        return await shielded(asyncio.to_thread(collect, self.path, patterns, room_bytes, cpu_time_s))

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Put files into a box in which no program has run yet.

        Raises:
            BoxTooSmallError: the files exceed the size of the box.
            ValueError: a name is not a relative path inside the box.
        """
        if len(files) <= FEW_FILES:
            self._write(files)
        else:
            await shielded(asyncio.to_thread(self._write, files))

    def _write(self, files: Mapping[str, bytes]) -> None:
        try:
            for name, content in files.items():
                self._write_one(PurePosixPath(name), content)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise BoxTooSmallError(self.full() or "box_bytes") from error

    def _write_one(self, name: PurePosixPath, content: bytes) -> None:
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise ValueError(f"{str(name)!r} is not a path inside the box")
        for parent in reversed(name.parents[:-1]):
            if not (self.path / parent).is_dir():
                (self.path / parent).mkdir()
                os.chown(self.path / parent, self.uid, self.uid)
        target = self.path / name
        with open(target, "xb") as file:
            file.write(content)
        target.chmod(0o755)  # a request has no file modes; this makes scripts executable
        os.chown(target, self.uid, self.uid)

    async def snapshot(self) -> bytes:
        """Return the content of the box, for `restore`.

        Raises:
            SnapshotError: the content is too large, or has files that an archive cannot hold.
        """
        return await shielded(asyncio.to_thread(snapshot.snapshot, self.path))

    async def restore(self, content: bytes) -> None:
        """Put the result of `snapshot` into this box, which must be empty.

        Raises:
            SnapshotError: it does not fit; some of it may be there.
        """
        await shielded(asyncio.to_thread(snapshot.restore, content, self.path, self.uid))

    def full(self) -> str | None:
        """Return `box_bytes` or `box_files`, whichever limit the box has reached, or None."""
        state = os.statvfs(self.path)
        if state.f_ffree == 0:
            return "box_files"
        return "box_bytes" if state.f_bfree == 0 else None


@asynccontextmanager
async def place_to_mount(folder: Path) -> AsyncIterator[None]:
    """Make a folder to mount on; unmount and remove it at the end.

    Raises:
        SandboxError: the folder could not be made or removed.
    """
    _make_place(folder)
    try:
        yield
    finally:
        if _is_small(folder):
            _remove_box(folder)
        else:  # freeing hundreds of megabytes would block the event loop
            await shielded(asyncio.to_thread(_remove_box, folder))


def _make_place(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise SandboxError(f"a box cannot be made: {error}") from error


def _is_small(folder: Path) -> bool:
    """Return whether what is mounted on a folder is copied or removed as quickly as a thread starts."""
    try:
        held = os.statvfs(folder)
    except OSError:
        return False
    return (held.f_blocks - held.f_bfree) * held.f_frsize <= SMALL_BYTES and (
        held.f_files - held.f_ffree <= FEW_FILES
    )


def _remove_box(folder: Path) -> None:
    try:
        if os.path.ismount(folder):
            mounts.unmount(folder)
        folder.rmdir()
        release_unreachable()  # otherwise the content of the box would stay in memory
    except OSError as error:
        raise SandboxError(f"a box cannot be removed: {error}") from error
