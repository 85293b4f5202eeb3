"""Control groups, version 2: one hierarchy for all controllers."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups import accounting
from processors.sandbox.cgroups.files import (
    GroupLimits,
    counters,
    move_members,
    quota_us,
    read,
    read_pids,
    remove,
    write,
)
from processors.sandbox.cgroups.worker import WorkerGroup
from processors.sandbox.model import SandboxError

CONTROLLERS = ("memory", "pids", "cpu")
LEAF = "envicutor-processes"
"""A group whose children are limited has no processes of its own: those of the worker's group move here."""


@dataclass(frozen=True, slots=True)
class GroupV2:
    """One folder for all controllers."""

    folder: Path

    def limit(self, limits: GroupLimits) -> None:
        """See Group."""
        _limit(self.folder, limits)

    def join_files(self) -> Sequence[Path]:
        """See Group."""
        return [self.folder / "cgroup.procs"]

    def cpu_time_s(self) -> float:
        """See Group."""
        return counters(self.folder / "cpu.stat")["usage_usec"] / 1e6

    def memory_peak_bytes(self) -> int:
        """See Group."""
        return int(read(self.folder / "memory.peak"))

    def oom_kills(self) -> int:
        """See Group."""
        return counters(self.folder / "memory.events")["oom_kill"]

    def refused_forks(self) -> int:
        """See Group."""
        return counters(self.folder / "pids.events")["max"]

    def pids(self) -> list[int]:
        """See Group."""
        return read_pids(self.folder)

    def kill(self) -> None:
        """See Group."""
        with suppress(FileNotFoundError):
            write(self.folder / "cgroup.kill", 1)

    def open_oom_event(self) -> None:
        """See Group: memory.oom.group is set."""
        return

    def remove(self) -> None:
        """See Group."""
        remove(self.folder)


@dataclass(frozen=True, slots=True)
class CgroupsV2:
    """See Cgroups."""

    folder: Path
    worker: WorkerGroup

    def paths(self) -> Sequence[Path]:
        """See Cgroups."""
        return [self.folder, self.worker.folder]

    def make(self, limits: GroupLimits) -> None:
        """See Cgroups. Moves the processes of the group above, ours and others, into a leaf first."""
        base, leaf = self.folder.parent, self.folder.parent / LEAF
        if needs_leaf(base):
            leaf.mkdir(exist_ok=True)
            move_members(base, leaf)
        _delegate(base)
        self.folder.mkdir()
        _limit(self.folder, limits)
        _delegate(self.folder)
        accounting.check(self.folder / "memory.swap.max", self.folder)
        if not (self.folder / "memory.peak").exists():
            raise SandboxError("this kernel does not count peak memory: Linux 5.19 or newer is needed")

    def create(self, name: str) -> GroupV2:
        """See Cgroups."""
        group = GroupV2(self.folder / name)
        try:
            group.folder.mkdir()
            write(group.folder / "memory.oom.group", 1)
        except OSError:
            group.remove()
            raise
        return group


def needs_leaf(base: Path) -> bool:
    """Say whether a group cannot keep its processes; the root of the hierarchy, which has no type, can."""
    return (base / "cgroup.type").exists()


def _delegate(folder: Path) -> None:
    write(folder / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in CONTROLLERS))


def _limit(folder: Path, limits: GroupLimits) -> None:
    write(folder / "memory.max", limits.memory_bytes)
    with suppress(FileNotFoundError):  # then there is no swap, see accounting
        write(folder / "memory.swap.max", 0)
    write(folder / "pids.max", limits.processes)
    if limits.cpus is not None:
        write(folder / "cpu.max", quota_us(limits.cpus))
