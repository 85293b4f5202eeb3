"""The box: a file system of bounded size that a program finds as /box."""

import asyncio
import errno
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from processors.sandbox import mounts, snapshot
from processors.sandbox.collect import WALK_S, Collected, collect
from processors.sandbox.descriptors import release_unreachable
from processors.sandbox.model import BoxTooSmallError, Command, Completed, Rootfs, SandboxError
from processors.sandbox.stage import shielded
from topics.request.limits import RunLimits

FEW_FILES = 32
"""A request holds no more bytes than are written in a moment; thousands of files take a while."""

Runner = Callable[["Box", Command, Rootfs, RunLimits], Awaitable[Completed]]


class Box:
    """A folder of bounded size that programs run in, as /box. Made by Sandboxes.box and Box.fork."""

    def __init__(self, path: Path, uid: int, runner: Runner) -> None:
        self.path = path
        """Where it is mounted on the host."""
        self.uid = uid
        """The user that owns the box and that its programs run as, on the host."""
        self._runner = runner
        self._forks = itertools.count()
        self._living_forks = 0

    async def run(self, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        """Run `command` in /box and return when nothing of it is left; cancelling kills all of it.

        Raises SandboxError if the sandbox could not be set up, ValueError for a command that cannot be one.
        """
        if self._living_forks:
            raise RuntimeError("a box must not change while there are forks of it")
        return await self._runner(self, command, rootfs, limits)

    @asynccontextmanager
    async def fork(self, limits: RunLimits) -> AsyncIterator["Box"]:
        """A box that starts as this one is now; its own changes are private and bounded by `limits`."""
        self._living_forks += 1
        changes = self.path.with_name(f"{self.path.name}-{next(self._forks)}")
        try:
            async with place_to_mount(changes):
                box = mounts.mount_fork(self.path, changes, self.uid, limits.box_bytes, limits.box_files)
                yield Box(box, self.uid, self._runner)
        finally:
            self._living_forks -= 1

    def make_room(self, limits: RunLimits) -> None:
        """Bound by `limits` what is added from now on: for who needs no fork, since this box ends with it."""
        mounts.resize_box(self.path, limits.box_bytes, limits.box_files)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a regular file, following no link; OSError if it is none, or larger than `max_bytes`."""
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
        """Return the regular files that patterns ask for, following no link, `room_bytes` at most.

        The client chose the patterns and the program made the tree, so the submission pays for the search.
        The search takes about `cpu_time_s` at most; the result has what it took.
        """
        if not patterns:
            return Collected()
        return await shielded(asyncio.to_thread(collect, self.path, patterns, room_bytes, cpu_time_s))

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Put files into a box in which nothing has run yet.

        Raises BoxTooSmallError, and ValueError for a bad name.
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
        target.chmod(0o755)  # a request tells no modes: scripts among the files can be started
        os.chown(target, self.uid, self.uid)

    async def snapshot(self) -> bytes:
        """Return all that is in the box; raises NotKeptError where that is too much, or cannot be kept."""
        return await shielded(asyncio.to_thread(snapshot.snapshot, self.path))

    async def restore(self, content: bytes) -> None:
        """Put back what `snapshot` returned, into an empty box; raises NotKeptError where that fails."""
        await shielded(asyncio.to_thread(snapshot.restore, content, self.path, self.uid))

    def full(self) -> str | None:
        """Name the limit, `box_bytes` or `box_files`, of which nothing is left."""
        state = os.statvfs(self.path)
        if state.f_ffree == 0:
            return "box_files"
        return "box_bytes" if state.f_bfree == 0 else None


@asynccontextmanager
async def place_to_mount(folder: Path) -> AsyncIterator[None]:
    """Make a folder, and take it away with what was mounted there; raises SandboxError."""
    _make_place(folder)
    try:
        yield
    finally:
        # Freeing hundreds of megabytes takes a while.
        await shielded(asyncio.to_thread(_take_away, folder))


def _make_place(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise SandboxError(f"a box cannot be made: {error}") from error


def _take_away(folder: Path) -> None:
    try:
        if os.path.ismount(folder):
            mounts.unmount(folder)
        folder.rmdir()
        release_unreachable()  # or what is in it would stay in memory
    except OSError as error:
        raise SandboxError(f"a box cannot be removed: {error}") from error
