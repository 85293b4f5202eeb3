"""Host checks for sandboxes: kernel features, programs, folders and limits."""

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


def sandbox_checks(settings: SandboxSettings, nix_root: Path) -> list[Check]:
    """Return the checks for sandboxes. A check precedes those that depend on it."""
    return [
        Check("root", "workers make mounts and control groups", "run the command as root", _root),
        Check(
            "capabilities",
            "workers and cache builders need them to make sandboxes, end programs and build",
            "give the process, or its container, all capabilities that are named",
            lambda: capabilities.check(capabilities.FOR_BUILDS),
        ),
        Check(
            "launcher",
            "first program of each sandbox, compiled once and executed from the cache folder",
            "apt-get install gcc libc6-dev; ENVICUTOR_CACHE_DIR on a file system that is not noexec",
            lambda: _launcher(settings.cache_dir),
        ),
        Check(
            "system call filter",
            "denies programs the system calls that they do not need",
            "apt-get install libseccomp2",
            _filter,
        ),
        Check(
            "control groups",
            "they limit and measure memory, processes and CPU time",
            "cgroup version 2 with a delegated group (systemd-run --scope -p Delegate=yes), or version 1 "
            "with the controllers memory, pids, cpu and cpuacct",
            _groups,
        ),
        Check(
            "user namespaces",
            "a user without privileges makes the sandboxes",
            "sysctl user.max_user_namespaces=65536, and if the kernel has these: "
            "kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0",
            lambda: _user_namespaces(settings.first_uid),
        ),
        Check(
            "state folder",
            "boxes are mounted below it, and users of sandboxes must be able to pass through it",
            "chmod o+x on the folder that is named, or another ENVICUTOR_SANDBOX_STATE_DIR",
            lambda: _state_dir(settings.state_dir),
        ),
        Check(
            "user ids",
            "each box has a separate user on the host",
            "another ENVICUTOR_SANDBOX_FIRST_UID; in a container, one that is mapped",
            lambda: _uids(settings),
        ),
        Check(
            "boxes",
            "a submission takes one for its program and one for its checker, and a worker without two for "
            "each of its slots does not start",
            "the settings that are named",
            lambda: _boxes(WorkSettings().worker_slots, settings),
        ),
        Check(
            "room for all stages",
            "submissions in all slots may use their highest limits at the same time; a submission that finds "
            "no room runs again, and is not charged an attempt",
            "fewer ENVICUTOR_WORKER_SLOTS, more ENVICUTOR_SANDBOX_TOTAL_MEMORY_BYTES; "
            "sysctl kernel.pid_max=65536; no limit on the processes of this control group, such as Docker's "
            "--pids-limit or systemd's TasksMax",
            lambda: room_for(WorkSettings().worker_slots, settings, _pids()),
            required=False,
        ),
        Check(
            "huge pages",
            "programs can take them from the machine's pool, beyond their memory limits",
            "sysctl vm.nr_hugepages=0 vm.nr_overcommit_hugepages=0, and no hugepages= at boot",
            lambda: no_huge_pages(Path("/sys/kernel/mm/hugepages")),
            required=False,
        ),
        Check(
            "a sandbox",
            "tries all that a worker tries at its start: the accounting of memory and swap, the limits of "
            "its own control group, a program that must run, two that must be stopped, one that must not "
            "change its oom_score_adj, and one that is executed from the environments' folder",
            "follow the message; the checks above find the usual causes",
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


def _state_dir(folder: Path) -> str:
    make_passable(folder)
    return str(folder)


def _uids(settings: SandboxSettings) -> str:
    user_ids.check_mapped(settings)
    user_ids.check_accounts(settings)
    ids = user_ids.ids_of_all_places(settings)
    return f"{ids[0]} to {ids[-1]} are free"


def _boxes(slots: int, settings: SandboxSettings) -> str:
    settings.check_slots(slots)
    return f"{settings.boxes} suffice for {slots} slots"


def room_for(slots: int, settings: SandboxSettings, pids: int) -> str:
    """Return a description of the stages that all slots can run at the same time with the highest limits.

    Raises:
        AbsentError: memory or process ids do not suffice for them.
    """
    stages = (
        f"{slots} slots of at most {most_of('memory_bytes') >> 20} MiB and {most_of('processes')} processes"
    )
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
    """Return a description of the pools of huge pages, if those of all sizes are empty and stay so.

    Raises:
        AbsentError: a pool has pages, or may grow.
    """
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
