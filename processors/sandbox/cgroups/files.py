"""Access to the files of control groups, which both versions share."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.model import SandboxError

CPU_PERIOD_US = 100_000
"""Period of the CPU quota: the kernel's default."""
MOVE_S = 10.0
"""Deadline for moving the processes of a group, which takes milliseconds."""
OUTSIDE = 0
"""Number in cgroup.procs of a process outside the reader's pid namespace."""
COUNTERS_BYTES = 4096
"""Bytes of a file that `read` returns at most: more than any file of counters has, unlike lists of
processes."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """Limits of a control group."""

    memory_bytes: int
    processes: int
    cpus: float | None = None
    """CPU quota in processors; None for no quota."""


def write(path: Path, value: str | int) -> None:
    """Write a value to a file of a control group.

    Raises:
        OSError: the kernel does not accept it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> str:
    """Return the text of a file with a value or a few counters.

    Raises:
        OSError: the file does not exist.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, COUNTERS_BYTES).decode()
    finally:
        os.close(descriptor)


def parse_counters(text: str) -> dict[str, int]:
    """Return the numbers by name in lines of a name and a number, as in memory.events."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def counters(path: Path) -> dict[str, int]:
    """Return the counters in a file by name.

    Raises:
        OSError: the file does not exist.
    """
    return parse_counters(read(path))


def quota_us(cpus: float) -> int:
    """Return the quota of each period for this number of processors; the kernel's minimum is 1 ms."""
    return max(1000, int(cpus * CPU_PERIOD_US))


def read_pids(folder: Path) -> list[int]:
    """Return the ids of a group's processes, without those of its children; a removed group has none."""
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except FileNotFoundError:
        return []


def kill_members(folder: Path) -> None:
    """Kill the processes of a group, oldest first.

    A pidfd prevents that a signal reaches another process with the reused id of an ended one.
    """
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
    """Move all processes of a group to another group.

    Raises:
        SandboxError: a process is outside this pid namespace, or processes fork faster than they are moved.
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
    """Remove a group if it exists.

    Raises:
        OSError: a process is in it (EBUSY).
    """
    with suppress(FileNotFoundError):
        folder.rmdir()
