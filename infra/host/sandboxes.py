"""What sandboxes need."""

import asyncio
import os
import subprocess
from pathlib import Path

from infra.host.check import TIMEOUT_S, AbsentError, Check
from nix.errors import CacheError
from nix.programs import check_programs
from processors.runner import SandboxRunner
from processors.sandbox import (
    Sandboxes,
    SandboxSettings,
    capabilities,
    cgroups,
    launcher,
    seccomp,
    user_ids,
)
from processors.sandbox.cgroups import share
from processors.sandbox.cgroups.v1 import CgroupsV1
from processors.sandbox.settings import most_of
from processors.sandbox.workplace import make_passable
from processors.settings import WorkSettings

UNPRIVILEGED_USERS = (
    "sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
)


def sandbox_checks(settings: SandboxSettings, nix_root: Path) -> list[Check]:
    """Those that others build on come first."""
    return [
        Check("root", "workers make mounts and control groups", "run it as root", _root),
        Check(
            "capabilities",
            "workers and cache builders make sandboxes, end programs and build with them",
            "give the process, or its container, all that are named",
            lambda: capabilities.check(capabilities.FOR_BUILDS),
        ),
        Check(
            "launcher",
            "the first program of each sandbox, compiled once and started from the cache folder",
            "apt-get install gcc libc6-dev; ENVICUTOR_CACHE_DIR on a file system that is not noexec",
            lambda: _launcher(settings.cache_dir),
        ),
        Check(
            "system call filter",
            "it keeps programs from what the kernel offers beyond their needs",
            "apt-get install libseccomp2",
            _filter,
        ),
        Check(
            "control groups",
            "limits on memory, processes and CPU, and what was used of them",
            "cgroup version 2 with a delegated group (systemd-run --scope -p Delegate=yes), or version 1 "
            "with the controllers memory, pids, cpu and cpuacct",
            _groups,
        ),
        Check(
            "user namespaces",
            "sandboxes are made by a user without privileges",
            "sysctl user.max_user_namespaces=65536, and where the kernel has these: "
            "kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0",
            lambda: _user_namespaces(settings.first_uid),
        ),
        Check(
            "overlayfs",
            "each test case starts on the compiled box as it was",
            "modprobe overlay",
            _overlayfs,
        ),
        Check(
            "state folder",
            "boxes are mounted below it, where programs' users must come through",
            "chmod o+x on the folder that is named, or another ENVICUTOR_SANDBOX_STATE_DIR",
            lambda: _state_dir(settings.state_dir),
        ),
        Check(
            "user ids",
            "each box has a user of its own on the host",
            "another ENVICUTOR_SANDBOX_FIRST_UID; in a container one that is mapped",
            lambda: _uids(settings),
        ),
        Check(
            "room for all stages",
            "where submissions use all that they may ask for, all slots at a time; one that finds no room is "
            "run again, and is never blamed",
            "fewer ENVICUTOR_WORKER_SLOTS, more ENVICUTOR_SANDBOX_TOTAL_MEMORY_BYTES or …_BOXES; "
            "sysctl kernel.pid_max=65536; no limit on the processes of this control group, such as Docker's "
            "--pids-limit or systemd's TasksMax",
            lambda: room_for(WorkSettings().worker_slots, settings, _pids()),
            required=False,
        ),
        Check(
            "huge pages",
            "programs can take them from the machine's pool, past their limits on memory",
            "sysctl vm.nr_hugepages=0 vm.nr_overcommit_hugepages=0, and no hugepages= at boot",
            lambda: no_huge_pages(Path("/sys/kernel/mm/hugepages")),
            required=False,
        ),
        Check(
            "a sandbox",
            "what a worker does at its start: it looks at how memory and swap are counted and at the "
            "limits of its own control group, tries a program that must run, two that must be stopped, and "
            "one that must not change its oom_score_adj, and executes one from the environments' folder",
            "what is wrong says so; the checks above find the usual causes",
            lambda: asyncio.run(_try(settings, nix_root)),
        ),
    ]


def _root() -> str:
    if os.geteuid() != 0:
        raise AbsentError(f"this is user {os.geteuid()}")
    return "yes"


def _launcher(cache_dir: Path) -> str:
    built = launcher.build_launcher(cache_dir)
    if os.statvfs(built).f_flag & os.ST_NOEXEC:
        raise AbsentError(f"{cache_dir} is mounted noexec")
    return str(built)


def _filter() -> str:
    os.close(seccomp.make_filter())
    return "compiles"


def _groups() -> str:
    located = cgroups.locate("envicutor-doctor")
    version = 1 if isinstance(located, CgroupsV1) else 2
    return f"version {version}, below " + ", ".join(str(path.parent) for path in located.paths()[:-1])


def _user_namespaces(uid: int) -> str:
    tried = subprocess.run(
        ["unshare", "--user", "true"],
        user=uid,
        group=uid,
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if tried.returncode != 0:
        raise AbsentError(f"user {uid} cannot make one: {tried.stderr.strip()}")
    return f"user {uid} can make them"


def _overlayfs() -> str:
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        raise AbsentError("the kernel does not list it")
    return "the kernel has it"


def _state_dir(folder: Path) -> str:
    make_passable(folder)
    return str(folder)


def _uids(settings: SandboxSettings) -> str:
    user_ids.check_accounts(settings)
    ids = user_ids.ids_of_all_places(settings)
    if not is_mapped(ids, Path("/proc/self/uid_map").read_text()):
        raise AbsentError(f"not all from {ids[0]} to {ids[-1]} exist in this user namespace")
    return f"{ids[0]} to {ids[-1]} are free"


def is_mapped(ids: range, uid_map: str) -> bool:
    """Whether a user namespace has all these ids, by the text of its uid_map."""
    rows = [tuple(map(int, line.split())) for line in uid_map.splitlines()]
    return any(first <= ids[0] and ids[-1] < first + count for first, _, count in rows)


def room_for(slots: int, settings: SandboxSettings, pids: int) -> str:
    """Whether all slots can run stages of the highest limits at a time; raises AbsentError."""
    stages = (
        f"{slots} slots of at most {most_of('memory_bytes') >> 20} MiB and {most_of('processes')} processes"
    )
    if slots > settings.boxes:
        raise AbsentError(f"{slots} slots are more than {settings.boxes} boxes")
    if slots * most_of("memory_bytes") > settings.total_memory_bytes:
        raise AbsentError(
            f"{stages} are more than the {settings.total_memory_bytes >> 20} MiB of all together"
        )
    if slots * most_of("processes") > pids:
        raise AbsentError(f"{stages} are more than the {pids} process ids of this machine or control group")
    return stages


def _pids() -> int:
    limit = share.processes_limit()
    machine = int(Path("/proc/sys/kernel/pid_max").read_text())
    return machine if limit is None else min(machine, limit.value)


def no_huge_pages(pools: Path) -> str:
    """Whether the pools of all sizes are empty, and stay so; raises AbsentError."""
    for counter in sorted(pools.glob("*/nr_*hugepages")):
        if counter.name != "nr_hugepages_mempolicy" and (count := int(counter.read_text())):
            raise AbsentError(f"{counter.parent.name} has {counter.name} = {count}")
    return "none are kept"


async def _try(settings: SandboxSettings, nix_root: Path) -> str:
    sandboxes = Sandboxes(settings)
    await sandboxes.start()
    try:
        await check_programs(nix_root, SandboxRunner(sandboxes))
    except CacheError as error:
        raise AbsentError(str(error)) from error
    finally:
        await sandboxes.close()
    return "runs, and is stopped by the limits"
