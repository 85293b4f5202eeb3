"""The interface by which the Cache runs commands under limits; processors/runner.py implements it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BOX_BYTES = 64 << 20
"""Default size of an untrusted command's box, a tmpfs."""


@dataclass(frozen=True)
class BuildLimits:
    """Limits of evaluating and building one environment."""

    wall_time_s: float = 300.0
    memory_bytes: int = 2 << 30
    stdout_bytes: int = 1 << 20
    stderr_bytes: int = 1 << 20
    """Limit of the build's log as well."""


@dataclass(frozen=True)
class Ran:
    """Result of a command; exactly one of `exit_code` and `signal` is set."""

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    signal: str | None
    """Name of the signal that ended the command, such as SIGSEGV."""
    limit_exceeded: str | None
    """Name of the limit that ended the command (`wall_time_s`, `cpu_time_s`, `memory_bytes`, ...)."""


class Runner(Protocol):
    """Runs commands under limits: untrusted ones in a sandbox, trusted ones in a cgroup."""

    async def sandboxed(
        self,
        argv: Sequence[str],
        *,
        mounts: Mapping[str, Path],
        files: Mapping[str, bytes],
        wall_time_s: float,
        memory_bytes: int,
        cpu_time_s: float | None = None,
        box_bytes: int = BOX_BYTES,
        on_user: Callable[[int], None] | None = None,
    ) -> Ran:
        """Run an untrusted command: unprivileged uid, no network, no /nix; host /usr and `mounts` read-only.

        `files` are in its working directory, /box; /box and /tmp may hold `box_bytes` each. `cpu_time_s`
        bounds the CPU time of its processes together; without it that is bounded by `wall_time_s`. `on_user`
        is called before the command starts, with the id of its user on the host, which no other process has.
        """
        ...

    async def bounded(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        limits: BuildLimits,
        processes: int,
        stdin: bytes = b"",
    ) -> Ran:
        """Run a trusted command as root in a cgroup of its own: no network, environment exactly `env`."""
        ...
