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
"""Memory that the sockets of a stage may hold, which version 1 counts apart from the other memory."""


@dataclass(frozen=True, slots=True)
class GroupV1:
    """Group with one folder per controller; controllers may share a hierarchy and a folder."""

    folders: dict[str, Path]

    def limit(self, limits: GroupLimits) -> None:
        """Set the limits in all hierarchies; the sockets have a limit of their own."""
        _limit(self.folders, limits)
        _limit_sockets(self.folders["memory"], min(limits.memory_bytes, SOCKET_BYTES))

    def join_files(self) -> Sequence[Path]:
        """Return the file `tasks` in each hierarchy."""
        # A move of one thread is fast. For cgroup.procs the kernel first stops all forks, which takes 5 ms.
        return [folder / "tasks" for folder in dict.fromkeys(self.folders.values())]

    def cpu_time_s(self) -> float:
        """Return the time that the controller cpuacct counted, see cpuacct.usage."""
        return int(read(self.folders["cpuacct"] / "cpuacct.usage")) / 1e9

    def memory_peak_bytes(self) -> int:
        """Return the sum of the peaks of sockets and of other memory, perhaps of different times."""
        memory = self.folders["memory"]
        peaks = [memory / "memory.max_usage_in_bytes", memory / "memory.kmem.tcp.max_usage_in_bytes"]
        return sum(int(read(peak)) for peak in peaks if peak.exists())

    def oom_kills(self) -> int:
        """Return the counter `oom_kill` in memory.oom_control."""
        return counters(self.folders["memory"] / "memory.oom_control")["oom_kill"]

    def refused_forks(self) -> int:
        """Return the counter `max` in pids.events."""
        return counters(self.folders["pids"] / "pids.events")["max"]

    def pids(self) -> list[int]:
        """Return the processes in the hierarchy of the controller pids."""
        return read_pids(self.folders["pids"])

    def kill(self) -> None:
        """Send SIGKILL to each process, because version 1 cannot kill a group at once."""
        kill_members(self.folders["pids"])

    def open_oom_event(self) -> int:
        """Return an eventfd, because version 1 kills one process of the group and lets the others run."""
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with open(self.folders["memory"] / "memory.oom_control", "rb") as control:
            write(self.folders["memory"] / "cgroup.event_control", f"{event} {control.fileno()}")
        return event

    def remove(self) -> None:
        """Remove the folder in each hierarchy."""
        for folder in dict.fromkeys(self.folders.values()):
            remove(folder)


@dataclass(frozen=True, slots=True)
class CgroupsV1:
    """Groups of one worker in the hierarchies of all controllers."""

    folders: dict[str, Path]
    worker: WorkerGroup

    def paths(self) -> Sequence[Path]:
        """Return each folder once, even if controllers share it."""
        return [*dict.fromkeys(self.folders.values()), self.worker.folder]

    def make(self, limits: GroupLimits) -> None:
        """Make the folder in each hierarchy, and check that all memory counts."""
        _make(self.folders)
        _limit(self.folders, limits)
        memory = self.folders["memory"]
        _limit_sockets(memory, limits.memory_bytes)
        accounting.check(memory / "memory.memsw.limit_in_bytes", memory)
        if not (memory / "cgroup.event_control").exists():
            raise SandboxError("this kernel does not report full control groups: boot with cgroup version 2")

    def create(self, name: str) -> GroupV1:
        """Make the folder of a stage in each hierarchy, or in none if one fails."""
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
    with suppress(FileNotFoundError):  # the kernel has no swap, see accounting
        write(memory / "memory.memsw.limit_in_bytes", limits.memory_bytes)
    write(folders["pids"] / "pids.max", limits.processes)
    if limits.cpus is not None:
        write(folders["cpu"] / "cpu.cfs_quota_us", quota_us(limits.cpus))


def _limit_sockets(memory: Path, limit_bytes: int) -> None:
    with suppress(FileNotFoundError):  # the kernel counts socket buffers only if they are limited
        write(memory / "memory.kmem.tcp.limit_in_bytes", limit_bytes)
