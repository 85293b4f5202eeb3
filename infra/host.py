"""What a machine must offer to run a system: each thing looked at as whoever needs it does."""

import asyncio
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.kafka.ports import is_free
from infra.settings import LocalSettings
from nix.settings import NixSettings
from nix.store import BUSYBOX
from processors.sandbox import (
    SandboxError,
    Sandboxes,
    SandboxSettings,
    bubblewrap,
    cgroups,
    launcher,
    seccomp,
)
from processors.sandbox.cgroups.v1 import CgroupsV1
from processors.sandbox.settings import most_of
from processors.sandbox.workplace import PLACES, make_passable
from processors.settings import WorkSettings

NPM = Path("/usr/bin/npm")
"""Where programs of the sandbox look for it."""
NEEDED_DISK_BYTES = 4 << 30
"""Kafka's jars, a package set, the base and a few environments."""
UNPRIVILEGED_USERS = (
    "sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
)
_TIMEOUT_S = 60


class MissingError(Exception):
    """It is not there; the message says what exactly."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a machine offers or does not."""

    name: str
    why: str
    """What it is needed for."""
    how: str
    """How to get it."""
    look: Callable[[], str]
    """Returns what was found; raises MissingError, SandboxError or OSError."""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check."""

    name: str
    ok: bool
    required: bool
    found: str
    """What is there, or what is wrong."""
    why: str
    how: str


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Look at everything, whatever is missing on the way."""
    return [_examine(check) for check in checks]


def _examine(check: Check) -> Finding:
    try:
        found, ok = check.look(), True
    except (MissingError, SandboxError, OSError, subprocess.SubprocessError) as error:
        found, ok = str(error), False
    return Finding(check.name, ok, check.required, found, check.why, check.how)


def checks_of(local: LocalSettings, sandbox: SandboxSettings) -> list[Check]:
    """What `envicutor up` needs with these settings; those that others build on come first."""
    return [*_for_sandboxes(sandbox), *_for_dependencies(local), *_for_the_system(local)]


def _for_sandboxes(settings: SandboxSettings) -> list[Check]:
    return [
        Check("root", "workers make mounts and control groups", "run it as root", _root),
        Check(
            "bubblewrap",
            "the engine `bubblewrap` makes namespaces and mounts with it; `native` does so itself",
            "apt-get install bubblewrap",
            lambda: f"{bubblewrap.find_bubblewrap()}, {_output('bwrap', '--version')}",
            required=settings.engine == "bubblewrap",
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
            "sysctl kernel.pid_max=65536",
            lambda: room_for(
                WorkSettings().worker_slots, settings, int(Path("/proc/sys/kernel/pid_max").read_text())
            ),
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
            "what a worker does at its start: it looks at how memory and swap are counted, "
            "and tries a program that must run and two that must be stopped",
            "what is wrong says so; the checks above find the usual causes",
            lambda: asyncio.run(_try(settings)),
        ),
    ]


def _for_dependencies(local: LocalSettings) -> list[Check]:
    return [
        Check(
            "Nix",
            "it builds and keeps environments",
            "apt-get install nix-bin",
            lambda: _programs("nix-store", "nix-instantiate"),
        ),
        Check(
            "build users",
            "Nix builds as one of them",
            "make system, which makes the group nixbld and its users",
            lambda: _members("nixbld"),
        ),
        Check(
            "busybox",
            "the first program of a build",
            "apt-get install busybox-static",
            lambda: _file(BUSYBOX),
        ),
        Check(
            "package lists",
            "the package set is made of them",
            "apt-get update, on Debian",
            _package_lists,
        ),
        *_for_registries(NixSettings()),
        Check(
            "data folder",
            "environments are kept below it, and mounted by programs' users",
            "chmod o+x on the folder that is named, or another ENVICUTOR_DATA_DIR",
            lambda: _data_dir(local.data_dir),
        ),
        Check(
            "disk",
            f"about {NEEDED_DISK_BYTES >> 30} GiB for the broker, package sets and first environments",
            "another ENVICUTOR_DATA_DIR or more space",
            lambda: _disk(local.data_dir),
            required=False,
        ),
    ]


def _for_the_system(local: LocalSettings) -> list[Check]:
    user = local.service_user
    return [
        Check(
            "Java and Maven",
            "the broker runs on the one and is fetched by the other",
            "apt-get install openjdk-17-jre-headless maven",
            lambda: _programs("java", "mvn"),
        ),
        Check(
            "setpriv",
            "roles are started through it: they gain no privileges and die with `up`",
            "apt-get install util-linux",
            lambda: _programs("setpriv"),
        ),
        Check(
            "service user",
            "the broker and most roles run as this user; else as root without capabilities",
            "make system",
            lambda: _user(user),
            required=False,
        ),
        *(
            Check(
                f"port of {name}",
                f"{name} listens there once the system is up",
                f"nothing if it is this system that listens, else another ENVICUTOR_{name.upper()}_PORT",
                partial(_port, port),
                required=False,
            )
            for name, port in (("HTTP", local.http_port), ("Kafka", local.kafka_port))
        ),
    ]


# -- sandboxes -------------------------------------------------------------------------------------


def _root() -> str:
    if os.geteuid() != 0:
        raise MissingError(f"this is user {os.geteuid()}")
    return "yes"


def _launcher(cache_dir: Path) -> str:
    built = launcher.build_launcher(cache_dir)
    if os.statvfs(built).f_flag & os.ST_NOEXEC:
        raise MissingError(f"{cache_dir} is mounted noexec")
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
        timeout=_TIMEOUT_S,
    )
    if tried.returncode != 0:
        raise MissingError(f"user {uid} cannot make one: {tried.stderr.strip()}")
    return f"user {uid} can make them"


def _overlayfs() -> str:
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        raise MissingError("the kernel does not list it")
    return "the kernel has it"


def _state_dir(folder: Path) -> str:
    make_passable(folder)
    return str(folder)


def _uids(settings: SandboxSettings) -> str:
    ids = range(settings.first_uid, settings.first_uid + PLACES * settings.boxes)
    taken = [account.pw_name for account in pwd.getpwall() if account.pw_uid in ids]
    if taken:
        raise MissingError(f"{', '.join(taken)} have ids from {ids[0]} to {ids[-1]}")
    if not is_mapped(ids, Path("/proc/self/uid_map").read_text()):
        raise MissingError(f"not all from {ids[0]} to {ids[-1]} exist in this user namespace")
    return f"{ids[0]} to {ids[-1]} are free"


def is_mapped(ids: range, uid_map: str) -> bool:
    """Whether a user namespace has all these ids, by the text of its uid_map."""
    rows = [tuple(map(int, line.split())) for line in uid_map.splitlines()]
    return any(first <= ids[0] and ids[-1] < first + count for first, _, count in rows)


def room_for(slots: int, settings: SandboxSettings, pids: int) -> str:
    """Whether all slots can run stages of the highest limits at a time; raises MissingError."""
    stages = (
        f"{slots} slots of at most {most_of('memory_bytes') >> 20} MiB and {most_of('processes')} processes"
    )
    if slots > settings.boxes:
        raise MissingError(f"{slots} slots are more than {settings.boxes} boxes")
    if slots * most_of("memory_bytes") > settings.total_memory_bytes:
        raise MissingError(
            f"{stages} are more than the {settings.total_memory_bytes >> 20} MiB of all together"
        )
    if slots * most_of("processes") > pids:
        raise MissingError(f"{stages} are more than the {pids} process ids of this machine")
    return stages


def no_huge_pages(pools: Path) -> str:
    """Whether the pools of all sizes are empty, and stay so; raises MissingError."""
    for counter in sorted(pools.glob("*/nr_*hugepages")):
        if counter.name != "nr_hugepages_mempolicy" and (count := int(counter.read_text())):
            raise MissingError(f"{counter.parent.name} has {counter.name} = {count}")
    return "none are kept"


async def _try(settings: SandboxSettings) -> str:
    sandboxes = Sandboxes(settings)
    await sandboxes.start()
    await sandboxes.close()
    return "runs, and is stopped by the limits"


def _for_registries(nix: NixSettings) -> list[Check]:
    checks = [
        Check(
            "npm",
            "it resolves packages of npm",
            "apt-get install npm",
            lambda: _file(NPM),
            required=bool(nix.npm_registry),
        ),
        Check(
            "certificate authorities",
            "index and registry are known by them",
            "apt-get install ca-certificates, or another ENVICUTOR_REGISTRIES_CA_FILE",
            lambda: _file(nix.registries_ca_file),
        ),
    ]
    return checks if nix.pypi_index or nix.npm_registry else []


# -- dependencies and the system -------------------------------------------------------------------


def _package_lists() -> str:
    _programs("dpkg", "apt-get")
    lists = _output("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
    found = [name for name in map(Path, lists.splitlines()) if any(name.parent.glob(f"{name.name}*"))]
    if not found:
        raise MissingError("apt has none")
    return f"{len(found)} lists"


def _data_dir(folder: Path) -> str:
    present = next(path for path in (folder, *folder.parents) if path.exists())
    for path in (present, *present.resolve().parents):
        if not path.stat().st_mode & 0o001:
            raise MissingError(f"all users must be able to pass through {path}")
    if not os.access(present, os.W_OK):
        raise MissingError(f"{present} cannot be written")
    return str(folder)


def _disk(folder: Path) -> str:
    present = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(present).free
    if free_bytes < NEEDED_DISK_BYTES:
        raise MissingError(f"{free_bytes >> 20} MiB are free at {present}")
    return f"{free_bytes >> 30} GiB are free at {present}"


def _programs(*names: str) -> str:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise MissingError(f"{' and '.join(missing)} cannot be found")
    return ", ".join(str(shutil.which(name)) for name in names)


def _members(group: str) -> str:
    try:
        members = grp.getgrnam(group).gr_mem
    except KeyError:
        raise MissingError(f"there is no group {group}") from None
    if not members:
        raise MissingError(f"the group {group} has no members")
    return f"{len(members)} in the group {group}"


def _user(name: str) -> str:
    try:
        return f"{name} has the id {pwd.getpwnam(name).pw_uid}"
    except KeyError:
        raise MissingError(f"there is no user {name}") from None


def _file(path: Path) -> str:
    if not path.is_file():
        raise MissingError(f"{path} is not there")
    return str(path)


def _port(port: int) -> str:
    if port and not is_free(port):
        raise MissingError(f"something listens on 127.0.0.1:{port}")
    return f"{port} is free" if port else "a free one will be chosen"


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    return done.stdout.strip()
