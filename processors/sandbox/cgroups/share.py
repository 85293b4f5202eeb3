"""Share of the machine's memory and processors that this process's control group may use.

A container's limits are limits of its control group; inside it, the figures of the machine stay the same.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups import CgroupMount, own_folder, parse_membership, parse_mounts
from processors.sandbox.cgroups.files import read
from processors.sandbox.model import SandboxError

WORKER_BYTES = 256 << 20
"""Memory of its control group that a worker reserves for itself."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Limit of a control group."""

    value: int
    """Bytes or processes, as the file has it."""
    file: Path
    """File that the limit was read from, for messages."""


def memory_limit() -> Limit | None:
    """Return the smallest limit on memory, in bytes, of this process's group and of the visible groups above.

    Return None if there is no limit.
    """
    return smallest(own_groups("memory"), ("memory.limit_in_bytes", "memory.max"))


def processes_limit() -> Limit | None:
    """Return the smallest limit on the number of processes of the same groups, or None."""
    return smallest(own_groups("pids"), ("pids.max",))


def processors() -> int:
    """Return how many processors this process can keep busy, by its affinity and its groups' CPU quotas."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), cpus())))


def cpus() -> float:
    """Return the smallest CPU quota, in processors, of this process's groups; infinity if there is none."""
    quotas = (cpu_quota(folder) for folder in own_groups("cpu"))
    return min((quota for quota in quotas if quota), default=math.inf)


def machine_bytes() -> int:
    """Return the memory of the machine, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def left_for_stages(limit: Limit | None) -> int:
    """Return the memory for all stages of a worker together, in bytes; 0 if the limit leaves none."""
    most = machine_bytes() * 4 // 5
    return most if limit is None else max(0, min(most, limit.value - WORKER_BYTES))


def own_groups(controller: str) -> list[Path]:
    """Return the folders of this process's group and of the visible groups above; none if it is hidden."""
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    return groups_in(mounts, parse_membership(Path("/proc/self/cgroup").read_text()), controller)


def groups_in(mounts: Iterable[CgroupMount], membership: dict[str, str], controller: str) -> list[Path]:
    """Return the folders of `own_groups` in the hierarchy of a controller, or in that of version 2."""
    candidates = sorted(mounts, key=lambda mount: mount.version)
    mount = next((each for each in candidates if controller in each.controllers or each.version == 2), None)
    if mount is None:
        return []
    try:
        own = own_folder(mount, membership[controller if mount.version == 1 else ""])
    except (SandboxError, KeyError):
        return []
    return [folder for folder in (own, *own.parents) if folder.is_relative_to(mount.point)]


def smallest(groups: Iterable[Path], names: Iterable[str]) -> Limit | None:
    """Return the smallest limit in the groups' files with one of these names, or None."""
    files = [folder / name for folder in groups for name in names if (folder / name).exists()]
    limits = [Limit(int(text), file) for file in files if (text := read(file).strip()) != "max"]
    return min(limits, key=lambda limit: limit.value, default=None)


def cpu_quota(folder: Path) -> float | None:
    """Return the CPU quota of a group in processors, or None."""
    if (folder / "cpu.max").exists():
        quota, period = read(folder / "cpu.max").split()
    elif (folder / "cpu.cfs_quota_us").exists():
        quota, period = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
    else:
        return None
    return None if quota.strip() in {"max", "-1"} else int(quota) / int(period)
