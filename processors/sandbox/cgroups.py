"""Control groups, version 1 and 2: a group per stage below one parent per worker.

A stage's group holds only the program and its descendants, so what it counts is theirs alone.
"""

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from processors.sandbox.model import SandboxError

CPU_PERIOD_US = 100_000
V1_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
V2_CONTROLLERS = ("memory", "pids", "cpu")
V2_LEAF = "envicutor-processes"
"""Version 2 has no processes in groups that have limited children: those of our own group move here."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What a group may use."""

    memory_bytes: int
    processes: int | None = None
    cpus: float | None = None


class Group(Protocol):
    """The control group of one stage."""

    def join_files(self) -> Sequence[Path]:
        """Files to which a process writes "0" in order to enter, as one who may (open them as root)."""

    def cpu_time_s(self) -> float:
        """Return the CPU time of all its processes, dead ones too."""

    def memory_peak_bytes(self) -> int:
        """Return the most memory that it ever held."""

    def oom_kills(self) -> int:
        """Return how many processes were killed for its memory limit."""

    def refused_forks(self) -> int:
        """Return how many new processes its limit refused."""

    def pids(self) -> list[int]:
        """Return the processes in it."""

    def kill(self) -> None:
        """Kill the processes in it; some may be left that were just being born."""

    def open_oom_event(self) -> int | None:
        """Return an eventfd that becomes readable when the limit kills; None if the kernel then kills all."""

    def remove(self) -> None:
        """Remove it; OSError (EBUSY) while a process is in it."""


class Cgroups(Protocol):
    """The parent group of one worker."""

    def paths(self) -> Sequence[Path]:
        """Return the folders that it is made of."""

    def make(self, limits: GroupLimits) -> None:
        """Make it; raises OSError."""

    def create(self, name: str, limits: GroupLimits) -> Group:
        """Make the group of a stage in it; raises OSError."""

    def remove(self) -> None:
        """Remove the parent, which must be empty."""


def _write(path: Path, value: str | int) -> None:
    # Unbuffered, so that the kernel's refusal is an error here.
    with open(path, "wb", buffering=0) as file:
        file.write(str(value).encode())


def parse_counters(text: str) -> dict[str, int]:
    """Parse lines of a name and a number, as in memory.events."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def _counters(path: Path) -> dict[str, int]:
    return parse_counters(path.read_text())


# ---- version 1 ----


@dataclass(frozen=True, slots=True)
class GroupV1:
    """One folder per controller, each in a hierarchy of its own (or shared by some of them)."""

    folders: dict[str, Path]

    def join_files(self) -> Sequence[Path]:
        """See Group."""
        # Moving one thread is quick; for cgroup.procs the kernel first stops all forks, which takes 5 ms.
        return [folder / "tasks" for folder in dict.fromkeys(self.folders.values())]

    def cpu_time_s(self) -> float:
        """See Group."""
        return int((self.folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def memory_peak_bytes(self) -> int:
        """See Group."""
        return int((self.folders["memory"] / "memory.max_usage_in_bytes").read_text())

    def oom_kills(self) -> int:
        """See Group."""
        return _counters(self.folders["memory"] / "memory.oom_control")["oom_kill"]

    def refused_forks(self) -> int:
        """See Group."""
        return _counters(self.folders["pids"] / "pids.events")["max"]

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
            _write(self.folders["memory"] / "cgroup.event_control", f"{event} {control.fileno()}")
        return event

    def remove(self) -> None:
        """See Group."""
        for folder in dict.fromkeys(self.folders.values()):
            with suppress(FileNotFoundError):
                folder.rmdir()


@dataclass(frozen=True, slots=True)
class CgroupsV1:
    """See Cgroups."""

    folders: dict[str, Path]

    def paths(self) -> Sequence[Path]:
        """See Cgroups."""
        return list(dict.fromkeys(self.folders.values()))

    def make(self, limits: GroupLimits) -> None:
        """See Cgroups."""
        _make_v1(self.folders, limits)

    def create(self, name: str, limits: GroupLimits) -> Group:
        """See Cgroups."""
        folders = {controller: parent / name for controller, parent in self.folders.items()}
        _make_v1(folders, limits)
        return GroupV1(folders)

    def remove(self) -> None:
        """See Cgroups."""
        GroupV1(self.folders).remove()


def _make_v1(folders: dict[str, Path], limits: GroupLimits) -> None:
    for folder in dict.fromkeys(folders.values()):
        folder.mkdir()
    memory = folders["memory"]
    _write(memory / "memory.limit_in_bytes", limits.memory_bytes)
    with suppress(FileNotFoundError):  # without swap accounting or swap there is nothing to limit
        _write(memory / "memory.memsw.limit_in_bytes", limits.memory_bytes)
    with suppress(FileNotFoundError):  # socket buffers are counted only where they are limited
        _write(memory / "memory.kmem.tcp.limit_in_bytes", limits.memory_bytes)
    if limits.processes is not None:
        _write(folders["pids"] / "pids.max", limits.processes)
    if limits.cpus is not None:
        _write(folders["cpu"] / "cpu.cfs_period_us", CPU_PERIOD_US)
        _write(folders["cpu"] / "cpu.cfs_quota_us", max(1000, int(limits.cpus * CPU_PERIOD_US)))


# ---- version 2 ----


@dataclass(frozen=True, slots=True)
class GroupV2:
    """One folder for all controllers."""

    folder: Path

    def join_files(self) -> Sequence[Path]:
        """See Group."""
        return [self.folder / "cgroup.procs"]

    def cpu_time_s(self) -> float:
        """See Group."""
        return _counters(self.folder / "cpu.stat")["usage_usec"] / 1e6

    def memory_peak_bytes(self) -> int:
        """See Group."""
        return int((self.folder / "memory.peak").read_text())

    def oom_kills(self) -> int:
        """See Group."""
        return _counters(self.folder / "memory.events")["oom_kill"]

    def refused_forks(self) -> int:
        """See Group."""
        return _counters(self.folder / "pids.events")["max"]

    def pids(self) -> list[int]:
        """See Group."""
        return read_pids(self.folder)

    def kill(self) -> None:
        """See Group."""
        _write(self.folder / "cgroup.kill", 1)

    def open_oom_event(self) -> None:
        """See Group: memory.oom.group is set."""
        return

    def remove(self) -> None:
        """See Group."""
        with suppress(FileNotFoundError):
            self.folder.rmdir()


@dataclass(frozen=True, slots=True)
class CgroupsV2:
    """See Cgroups."""

    folder: Path

    def paths(self) -> Sequence[Path]:
        """See Cgroups."""
        return [self.folder]

    def make(self, limits: GroupLimits) -> None:
        """See Cgroups. Moves the processes of the group above, ours and others, into a leaf first."""
        base = self.folder.parent
        if (base / "cgroup.type").exists():  # the root of the hierarchy has none, and may keep its processes
            _move_processes(base, base / V2_LEAF)
        _delegate(base)
        _make_v2(self.folder, limits)
        _delegate(self.folder)

    def create(self, name: str, limits: GroupLimits) -> Group:
        """See Cgroups."""
        folder = self.folder / name
        _make_v2(folder, limits)
        _write(folder / "memory.oom.group", 1)
        return GroupV2(folder)

    def remove(self) -> None:
        """See Cgroups."""
        GroupV2(self.folder).remove()


def _move_processes(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    while pids := read_pids(source):
        for pid in pids:
            with suppress(ProcessLookupError):
                _write(target / "cgroup.procs", pid)


def _delegate(folder: Path) -> None:
    _write(folder / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in V2_CONTROLLERS))


def _make_v2(folder: Path, limits: GroupLimits) -> None:
    folder.mkdir()
    _write(folder / "memory.max", limits.memory_bytes)
    with suppress(FileNotFoundError):  # a kernel without swap
        _write(folder / "memory.swap.max", 0)
    if limits.processes is not None:
        _write(folder / "pids.max", limits.processes)
    if limits.cpus is not None:
        _write(folder / "cpu.max", f"{max(1000, int(limits.cpus * CPU_PERIOD_US))} {CPU_PERIOD_US}")


# ---- both ----


def read_pids(folder: Path) -> list[int]:
    """Return the processes of a group, without those of its children; a group that is gone has none."""
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except FileNotFoundError:
        return []


def kill_members(folder: Path) -> None:
    """Kill the processes of a group one by one, and nobody who was given the number of one that just died."""
    handles: dict[int, int] = {}
    try:
        for pid in read_pids(folder):
            with suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(pid)
        for pid in handles.keys() & set(read_pids(folder)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
    finally:
        for handle in handles.values():
            os.close(handle)


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """A mounted hierarchy of control groups."""

    version: int
    controllers: frozenset[str]
    """Of version 1; version 2 tells them in cgroup.controllers."""
    root: str
    """The group that is mounted, as /proc/self/cgroup would name it."""
    point: Path


def parse_mounts(mountinfo: str) -> list[CgroupMount]:
    """Find the hierarchies in the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            controllers = frozenset(options.split(",")) if kind == "cgroup" else frozenset[str]()
            found.append(CgroupMount(1 if kind == "cgroup" else 2, controllers, root, Path(point)))
    return found


def parse_membership(cgroup: str) -> dict[str, str]:
    """Map controllers, and "" for version 2, to our group, from the text of /proc/self/cgroup."""
    membership = {}
    for line in cgroup.splitlines():
        _, controllers, group = line.split(":", 2)
        membership.update(dict.fromkeys(controllers.split(","), group))
    return membership


def own_folder(mount: CgroupMount, group: str) -> Path:
    """Return the folder of our group in a hierarchy, of which a container may see a part only."""
    try:
        return mount.point / Path(group).relative_to(mount.root)
    except ValueError:
        raise SandboxError(
            f"the control group {group} is outside of what is mounted at {mount.point} ({mount.root}): "
            "start the worker where it sees its own group, in Docker with --cgroupns=private"
        ) from None


def locate(name: str) -> Cgroups:
    """Find where a worker's parent group belongs: below the group that this process is in. Makes nothing yet.

    Raises SandboxError if the host does not offer what is needed.
    """
    found = parse_mounts(Path("/proc/self/mountinfo").read_text())
    membership = parse_membership(Path("/proc/self/cgroup").read_text())
    if any("memory" in mount.controllers for mount in found):
        return CgroupsV1({part: _own_v1(found, membership, part) / name for part in V1_CONTROLLERS})
    return CgroupsV2(_own_v2(found, membership) / name)


def _own_v1(found: Iterable[CgroupMount], membership: dict[str, str], controller: str) -> Path:
    mount = next((mount for mount in found if controller in mount.controllers), None)
    if mount is None:
        raise SandboxError(f"the control group controller {controller!r} is not mounted")
    return own_folder(mount, membership[controller])


def _own_v2(found: Iterable[CgroupMount], membership: dict[str, str]) -> Path:
    mount = next((mount for mount in found if mount.version == 2), None)
    if mount is None:
        raise SandboxError("no control groups are mounted: mount cgroup2 at /sys/fs/cgroup")
    own = own_folder(mount, membership[""])
    base = own.parent if own.name == V2_LEAF else own
    missing = set(V2_CONTROLLERS) - set((base / "cgroup.controllers").read_text().split())
    if missing:
        raise SandboxError(
            f"the control group {base} lacks the controllers {sorted(missing)}: "
            "start the worker in a delegated group, for example with systemd-run --scope -p Delegate=yes"
        )
    return base
