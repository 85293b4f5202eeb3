"""What the Cache is handed to run commands under limits; the sandbox's owner implements it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BOX_BYTES = 64 << 20
"""What a command that is not trusted may write, unless it is said otherwise; it is memory."""


@dataclass(frozen=True)
class Ran:
    """How a command ended; exactly one of `exit_code` and `signal` is set."""

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    signal: str | None
    """A name such as SIGSEGV."""
    limit_exceeded: str | None
    """Name of the limit that ended it (`wall_time_s`, `memory_bytes`, `stdout_bytes`, ...)."""


class Runner(Protocol):
    """Two ways to run a command: one that is not trusted, one that is."""

    async def sandboxed(
        self,
        argv: Sequence[str],
        *,
        mounts: Mapping[str, Path],
        files: Mapping[str, bytes],
        wall_time_s: float,
        memory_bytes: int,
        box_bytes: int = BOX_BYTES,
        on_user: Callable[[int], None] | None = None,
    ) -> Ran:
        """Run untrusted work: unprivileged uid, no network, no /nix; host /usr and `mounts` read-only.

        `files` are in its working directory, /box; that and /tmp may hold `box_bytes` each. `on_user` is
        called before the command starts, with the id of its user on the host, which no other process has.
        """
        ...

    async def bounded(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        wall_time_s: float,
        memory_bytes: int,
        stdout_bytes: int,
        stderr_bytes: int,
        processes: int,
    ) -> Ran:
        """Run a trusted command as root in a cgroup of its own: no network, environment exactly `env`."""
        ...
