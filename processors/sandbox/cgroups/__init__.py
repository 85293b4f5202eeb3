"""Control groups, version 1 and 2: a group per stage below one parent per worker.

A stage's group holds only the program and its descendants, so what it counts is theirs alone.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from processors.sandbox.cgroups import v1, v2
from processors.sandbox.cgroups.files import GroupLimits
from processors.sandbox.cgroups.worker import WorkerGroup
from processors.sandbox.model import SandboxError

__all__ = ["Cgroups", "Group", "GroupLimits", "WorkerGroup", "locate"]

WORKER = "-worker"


class Group(Protocol):
    """The control group of one stage."""

    def limit(self, limits: GroupLimits) -> None:
        """Set what it may use, before anything is in it; raises OSError."""

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
    """The parent of all groups of one worker's stages."""

    @property
    def worker(self) -> WorkerGroup:
        """Where the worker itself goes, with the processes that it starts."""

    def paths(self) -> Sequence[Path]:
        """Return the folders that it is made of."""

    def make(self, limits: GroupLimits) -> None:
        """Make it; raises OSError."""

    def create(self, name: str) -> Group:
        """Make the group of a stage in it, still without limits; raises OSError."""


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
            "start the worker where it sees its own group, "
            "in Docker with --cgroupns=private"
        ) from None


def locate(name: str) -> Cgroups:
    """Find where a worker's groups belong: below the group that this process is in. Makes nothing yet.

    Raises SandboxError if the host does not offer what is needed.
    """
    located = _locate(name)
    for folder in located.paths():
        if os.geteuid() == 0 and not os.access(folder.parent, os.W_OK):
            raise SandboxError(
                f"no control groups can be made below {folder.parent}: mount that file system writable, "
                "in a container with SYS_ADMIN by `mount -o remount,rw,bind` of it"
            )
    return located


def _locate(name: str) -> Cgroups:
    found = parse_mounts(Path("/proc/self/mountinfo").read_text())
    membership = parse_membership(Path("/proc/self/cgroup").read_text())
    if any("memory" in mount.controllers for mount in found):
        own = {controller: _own_v1(found, membership, controller) for controller in v1.CONTROLLERS}
        worker = WorkerGroup(own["pids"] / f"{name}{WORKER}", own["pids"])
        return v1.CgroupsV1({controller: folder / name for controller, folder in own.items()}, worker)
    own_v2 = _own_v2(found, membership)
    base = own_v2.parent if own_v2.name == v2.LEAF or own_v2.name.endswith(WORKER) else own_v2
    _check_v2(base)
    home = base / v2.LEAF if v2.needs_leaf(base) else base
    return v2.CgroupsV2(base / name, WorkerGroup(base / f"{name}{WORKER}", home))


def _own_v1(found: Iterable[CgroupMount], membership: dict[str, str], controller: str) -> Path:
    mount = next((mount for mount in found if controller in mount.controllers), None)
    if mount is None:
        raise SandboxError(f"the control group controller {controller!r} is not mounted")
    return own_folder(mount, membership[controller])


def _own_v2(found: Iterable[CgroupMount], membership: dict[str, str]) -> Path:
    mount = next((mount for mount in found if mount.version == 2), None)
    if mount is None:
        raise SandboxError("no control groups are mounted: mount cgroup2 at /sys/fs/cgroup")
    return own_folder(mount, membership[""])


def _check_v2(base: Path) -> None:
    missing = set(v2.CONTROLLERS) - set((base / "cgroup.controllers").read_text().split())
    if missing:
        raise SandboxError(
            f"the control group {base} lacks the controllers {sorted(missing)}: "
            "start the worker in a delegated group, for example with systemd-run --scope -p Delegate=yes"
        )
