"""The sandboxes of one worker process."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from processors.sandbox.model import Command, Completed, Rootfs
from processors.sandbox.settings import SandboxSettings
from topics.limits import RunLimits


class Box:
    """A folder of bounded size that programs run in, as /box."""

    async def run(self, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        """Run `command` in this box; raises SandboxError if it could not be set up. Cancelling kills all of it."""
        raise NotImplementedError

    def fork(self, limits: RunLimits) -> AbstractAsyncContextManager["Box"]:
        """A box that starts as this one is now; what is written there is private to it and bounded by `limits`."""
        raise NotImplementedError

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a regular file; OSError if it is none, is reached through a link, or is larger than `max_bytes`."""
        raise NotImplementedError


class Sandboxes:
    """One per worker process; all methods belong to the thread of its event loop."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings

    async def start(self) -> None:
        """Check and prepare the host, and clean up after dead workers; SandboxError names what is missing."""
        raise NotImplementedError

    async def close(self) -> None:
        """Remove what `start` made; boxes must be closed before."""
        raise NotImplementedError

    def box(self, files: Mapping[str, bytes], limits: RunLimits) -> AbstractAsyncContextManager[Box]:
        """A box holding `files` (relative paths to contents); BoxTooSmallError if they do not fit."""
        raise NotImplementedError

    async def run_bounded(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        wall_time_s: float,
        memory_bytes: int,
        stdout_bytes: int,
        stderr_bytes: int,
        cwd: Path | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run a command of ours as root on the host: bounded, without network, with no environment but `env`."""
        raise NotImplementedError
