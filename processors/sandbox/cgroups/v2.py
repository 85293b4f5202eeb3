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
"""Name of the group to which the processes of the worker's group move.

A group whose children have limits cannot have processes itself.
"""


@dataclass(frozen=True, slots=True)
class GroupV2:
    """Group with one folder for all controllers."""

    folder: Path

    def limit(self, limits: GroupLimits) -> None:
        """Set the limits; swap is forbidden."""
        _limit(self.folder, limits)

    def join_files(self) -> Sequence[Path]:
        """Return the file cgroup.procs of the only hierarchy."""
        return [self.folder / "cgroup.procs"]

    def cpu_time_s(self) -> float:
        """Return the counter `usage_usec` in cpu.stat, in seconds."""
        return counters(self.folder / "cpu.stat")["usage_usec"] / 1e6

    def memory_peak_bytes(self) -> int:
        """Return memory.peak, which includes the buffers of sockets."""
        return int(read(self.folder / "memory.peak"))

    def oom_kills(self) -> int:
        """Return the counter `oom_kill` in memory.events."""
        return counters(self.folder / "memory.events")["oom_kill"]

    def refused_forks(self) -> int:
        """Return the counter `max` in pids.events."""
        return counters(self.folder / "pids.events")["max"]

    def pids(self) -> list[int]:
        """Return the processes in the only hierarchy."""
        return read_pids(self.folder)

    def kill(self) -> None:
        """Kill all processes at once by cgroup.kill, unless the group was removed."""
        with suppress(FileNotFoundError):
            write(self.folder / "cgroup.kill", 1)

    def open_oom_event(self) -> None:
        """Return None: with memory.oom.group, the kernel kills all processes of the group."""
        return

    def remove(self) -> None:
        """Remove the only folder."""
        remove(self.folder)


@dataclass(frozen=True, slots=True)
class CgroupsV2:
    """Group of one worker in the hierarchy of version 2."""

    folder: Path
    worker: WorkerGroup

    def paths(self) -> Sequence[Path]:
        """Return two folders, as version 2 has one hierarchy."""
        return [self.folder, self.worker.folder]

    def make(self, limits: GroupLimits) -> None:
        """Make the group, after all processes of the group above were moved into a leaf."""
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
        """Make a group in which the OOM killer ends all processes together."""
        group = GroupV2(self.folder / name)
        try:
            group.folder.mkdir()
            write(group.folder / "memory.oom.group", 1)
        except OSError:
            group.remove()
            raise
        return group


def needs_leaf(base: Path) -> bool:
    """Return whether a group must not keep its processes; only the root, which has no type, may."""
    return (base / "cgroup.type").exists()


def _delegate(folder: Path) -> None:
    write(folder / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in CONTROLLERS))


def _limit(folder: Path, limits: GroupLimits) -> None:
    write(folder / "memory.max", limits.memory_bytes)
    with suppress(FileNotFoundError):  # the kernel has no swap, see accounting
        write(folder / "memory.swap.max", 0)
    write(folder / "pids.max", limits.processes)
    if limits.cpus is not None:
        write(folder / "cpu.max", quota_us(limits.cpus))
