"""Control groups, version 1: a hierarchy per controller."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups import accounting
from processors.sandbox.cgroups.files import (
    GroupLimits,
    counters,
    kill_members,
    quota_us,
    read,
    read_pids,
    remove,
    write,
)
from processors.sandbox.cgroups.worker import WorkerGroup
from processors.sandbox.model import SandboxError

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
SOCKET_BYTES = 32 << 20
"""What a stage's sockets may hold at most beside its other memory, apart from which they are counted."""


@dataclass(frozen=True, slots=True)
class GroupV1:
    """One folder per controller, each in a hierarchy of its own (or shared by some of them)."""

    folders: dict[str, Path]

    def limit(self, limits: GroupLimits) -> None:
        """See Group."""
        _limit(self.folders, limits)
        _limit_sockets(self.folders["memory"], min(limits.memory_bytes, SOCKET_BYTES))

    def join_files(self) -> Sequence[Path]:
        """See Group."""
        # Moving one thread is quick; for cgroup.procs the kernel first stops all forks, which takes 5 ms.
        return [folder / "tasks" for folder in dict.fromkeys(self.folders.values())]

    def cpu_time_s(self) -> float:
        """See Group."""
        return int(read(self.folders["cpuacct"] / "cpuacct.usage")) / 1e9

    def memory_peak_bytes(self) -> int:
        """See Group. The buffers of sockets had their own peak, perhaps at another time."""
        memory = self.folders["memory"]
        peaks = [memory / "memory.max_usage_in_bytes", memory / "memory.kmem.tcp.max_usage_in_bytes"]
        return sum(int(read(peak)) for peak in peaks if peak.exists())

    def oom_kills(self) -> int:
        """See Group."""
        return counters(self.folders["memory"] / "memory.oom_control")["oom_kill"]

    def refused_forks(self) -> int:
        """See Group."""
        return counters(self.folders["pids"] / "pids.events")["max"]

    def pids(self) -> list[int]:
        """See Group."""
        return read_pids(self.folders["pids"])

    def kill(self) -> None:
        """See Group."""
        kill_members(self.folders["pids"])

    def open_oom_event(self) -> int:
        """See Group. Version 1 kills one process of the group and lets the others go on."""
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with open(self.folders["memory"] / "memory.oom_control", "rb") as control:
            write(self.folders["memory"] / "cgroup.event_control", f"{event} {control.fileno()}")
        return event

    def remove(self) -> None:
        """See Group."""
        for folder in dict.fromkeys(self.folders.values()):
            remove(folder)


@dataclass(frozen=True, slots=True)
class CgroupsV1:
    """See Cgroups."""

    folders: dict[str, Path]
    worker: WorkerGroup

    def paths(self) -> Sequence[Path]:
        """See Cgroups."""
        return [*dict.fromkeys(self.folders.values()), self.worker.folder]

    def make(self, limits: GroupLimits) -> None:
        """See Cgroups."""
        _make(self.folders)
        _limit(self.folders, limits)
        memory = self.folders["memory"]
        _limit_sockets(memory, limits.memory_bytes)
        accounting.check(memory / "memory.memsw.limit_in_bytes", memory)
        if not (memory / "cgroup.event_control").exists():
            raise SandboxError("this kernel does not tell of full control groups: boot with cgroup version 2")

    def create(self, name: str) -> GroupV1:
        """See Cgroups."""
        folders = {controller: parent / name for controller, parent in self.folders.items()}
        group = GroupV1(folders)
        try:
            _make(folders)
        except OSError:
            group.remove()
            raise
        return group


def _make(folders: dict[str, Path]) -> None:
    for folder in dict.fromkeys(folders.values()):
        folder.mkdir()


def _limit(folders: dict[str, Path], limits: GroupLimits) -> None:
    memory = folders["memory"]
    write(memory / "memory.limit_in_bytes", limits.memory_bytes)
    with suppress(FileNotFoundError):  # then there is no swap, see accounting
        write(memory / "memory.memsw.limit_in_bytes", limits.memory_bytes)
    write(folders["pids"] / "pids.max", limits.processes)
    if limits.cpus is not None:
        write(folders["cpu"] / "cpu.cfs_quota_us", quota_us(limits.cpus))


def _limit_sockets(memory: Path, limit_bytes: int) -> None:
    with suppress(FileNotFoundError):  # their buffers are counted only where they are limited
        write(memory / "memory.kmem.tcp.limit_in_bytes", limit_bytes)
