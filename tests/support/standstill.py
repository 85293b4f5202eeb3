"""A host that stands still for a worker: its processes are stopped, or frozen as `docker pause` does it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from processors.sandbox.cgroups.files import read_pids, write
from tests.support.polling import eventually
from tests.system.cluster.processes import ancestors

FREEZERS = Path("/sys/fs/cgroup/freezer")
"""Of cgroup version 1."""


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, itself first."""
    others = (int(process.name) for process in Path("/proc").glob("[1-9]*"))
    return [pid, *(other for other in others if pid in ancestors(other))]


def launchers(pid: int) -> list[int]:
    """Return a worker and its launchers, without the programs."""
    return [pid, *(other for other in family(pid)[1:] if _name(other).startswith("launcher"))]


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Stop processes with SIGSTOP, and continue them at the end."""
    _signal(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Freeze processes in a control group, and thaw them at the end."""
    group = FREEZERS / f"standstill-{pids[0]}"
    group.mkdir()
    try:
        _move(pids, group)
        write(group / "freezer.state", "FROZEN")
        yield
    finally:
        write(group / "freezer.state", "THAWED")
        eventually(lambda: _leave(group), "the freezer is empty")
        group.rmdir()


def _leave(group: Path) -> bool:
    """Move all processes out; return whether none is left, since they may fork meanwhile."""
    _move(read_pids(group), FREEZERS)
    return not read_pids(group)


def _move(pids: list[int], group: Path) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            write(group / "cgroup.procs", str(pid))
