"""Control groups, version 1 and 2: a group per stage below one parent per worker.

A stage's group holds only the program and its descendants, so its counters are theirs alone.
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
"""Suffix of the name of a worker's own group, beside the group of its stages."""


class Group(Protocol):
    """Control group of one stage."""

    def limit(self, limits: GroupLimits) -> None:
        """Set the limits, before a process joins.

        Raises:
            OSError: the kernel refuses a limit.
        """

    def join_files(self) -> Sequence[Path]:
        """Return the files to which a process writes "0" to join; only root may open them."""

    def cpu_time_s(self) -> float:
        """Return the CPU time of all its processes, including ended ones."""

    def memory_peak_bytes(self) -> int:
        """Return the highest memory usage that the group has ever had."""

    def oom_kills(self) -> int:
        """Return how many of its processes the OOM killer ended."""

    def refused_forks(self) -> int:
        """Return how many forks its limit on processes refused."""

    def pids(self) -> list[int]:
        """Return the ids of its processes."""

    def kill(self) -> None:
        """Kill its processes; processes that are being forked may be left."""

    def open_oom_event(self) -> int | None:
        """Return an eventfd that becomes readable when the group is out of memory.

        None means that the kernel then kills all processes of the group, so that no event is needed.
        """

    def remove(self) -> None:
        """Remove the group.

        Raises:
            OSError: a process is in it (EBUSY).
        """


class Cgroups(Protocol):
    """Parent of the groups of all stages of one worker."""

    @property
    def worker(self) -> WorkerGroup:
        """Group of the worker itself and of the launchers that it starts."""

    def paths(self) -> Sequence[Path]:
        """Return the folders of this group and of the worker's own group."""

    def make(self, limits: GroupLimits) -> None:
        """Make the group with these limits for all stages together.

        Raises:
            OSError: the kernel refuses the group or a limit.
            SandboxError: the kernel lacks a needed file, or would not count some memory.
        """

    def create(self, name: str) -> Group:
        """Make the group of a stage below, without limits.

        Raises:
            OSError: the kernel refuses the group.
        """


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """Mounted hierarchy of control groups."""

    version: int
    """Version of control groups, 1 or 2."""
    controllers: frozenset[str]
    """Controllers of a hierarchy of version 1; those of version 2 are in cgroup.controllers."""
    root: str
    """Group that is mounted, in the notation of /proc/self/cgroup."""
    point: Path
    """Folder that the hierarchy is mounted on."""


def parse_mounts(mountinfo: str) -> list[CgroupMount]:
    """Return the hierarchies of control groups in the text of /proc/self/mountinfo."""
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
    """Map each controller, and "" for version 2, to its group in the text of /proc/self/cgroup."""
    membership = {}
    for line in cgroup.splitlines():
        _, controllers, group = line.split(":", 2)
        membership.update(dict.fromkeys(controllers.split(","), group))
    return membership


def own_folder(mount: CgroupMount, group: str) -> Path:
    """Return the folder of this process's group in a hierarchy, of which a container may see only a part.

    Raises:
        SandboxError: the visible part does not include the group.
    """
    try:
        return mount.point / Path(group).relative_to(mount.root)
    except ValueError:
        raise SandboxError(
            f"the control group {group} is outside of what is mounted at {mount.point} ({mount.root}): "
            "start the worker so that it sees its own group, "
            "in Docker with --cgroupns=private"
        ) from None


def locate(name: str) -> Cgroups:
    """Return the groups for a worker below the group of this process, without making them yet.

    Raises:
        SandboxError: the host has no usable control groups.
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
