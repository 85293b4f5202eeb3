"""Reading and writing the files of control groups."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.model import SandboxError

CPU_PERIOD_US = 100_000
"""The kernel's default."""
MOVE_S = 10.0
"""Deadline for moving the processes of a group, which takes milliseconds."""
OUTSIDE = 0
"""Number in cgroup.procs of a process that is outside of the reader's pid namespace."""
COUNTERS_BYTES = 4096
"""More than any of these files has; lists of processes are longer."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What a group may use."""

    memory_bytes: int
    processes: int
    cpus: float | None = None


def write(path: Path, value: str | int) -> None:
    """Write a value; OSError if the kernel does not take it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> str:
    """Read a value, or a file of a few counters; OSError if it is not there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, COUNTERS_BYTES).decode()
    finally:
        os.close(descriptor)


def parse_counters(text: str) -> dict[str, int]:
    """Parse lines of a name and a number, as in memory.events."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def counters(path: Path) -> dict[str, int]:
    """Read a file of counters."""
    return parse_counters(read(path))


def quota_us(cpus: float) -> int:
    """Return how much of each period so many processors are; the kernel takes no less than 1 ms."""
    return max(1000, int(cpus * CPU_PERIOD_US))


def read_pids(folder: Path) -> list[int]:
    """Return the processes of a group, without those of its children; a group that is gone has none."""
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except FileNotFoundError:
        return []


def kill_members(folder: Path) -> None:
    """Kill the processes of a group, oldest first, and nobody who got the number of one that just died."""
    handles: dict[int, int] = {}
    try:
        for pid in read_pids(folder):
            if pid == OUTSIDE:
                continue
            with suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(pid)
        members = set(read_pids(folder))
        for pid in (pid for pid in handles if pid in members and pid != os.getpid()):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
    finally:
        for handle in handles.values():
            os.close(handle)


def move_members(source: Path, target: Path) -> None:
    """Move all processes of a group to another one.

    Raises SandboxError if some cannot be moved: this process's pid namespace has no number for them, or new
    ones are made faster than they are moved.
    """
    deadline_s = time.monotonic() + MOVE_S
    while pids := read_pids(source):
        if OUTSIDE in pids:
            raise SandboxError(
                f"{pids.count(OUTSIDE)} processes in {source} are outside of the worker's pid namespace and "
                "cannot be moved: start the worker in a control group of its own, or in the pid namespace of "
                "the others in its group"
            )
        if time.monotonic() > deadline_s:
            raise SandboxError(
                f"the processes in {source} could not be moved to {target} within {MOVE_S:g} s: "
                f"{len(pids)} are left"
            )
        for pid in pids:
            with suppress(ProcessLookupError):
                write(target / "cgroup.procs", pid)


def remove(folder: Path) -> None:
    """Remove a group if it is there; OSError (EBUSY) while a process is in it."""
    with suppress(FileNotFoundError):
        folder.rmdir()
