"""Host checks for building and storing environments."""

import grp
import os
import shutil
from pathlib import Path

from infra.accounts import open_to_others
from infra.host.check import AbsentError, Check, output, programs
from infra.settings import LocalSettings
from nix.nix_store import BUSYBOX
from nix.settings import NixSettings

NPM = Path("/usr/bin/npm")
"""Path at which programs in the sandbox expect npm."""
NEEDED_DISK_BYTES = 4 << 30
"""Disk space for Kafka's jars, a package set, the base and a few environments."""


def dependencies_checks(local: LocalSettings) -> list[Check]:
    """Return the checks for Nix, package lists, registries, folders and disk space."""
    return [
        Check(
            "Nix",
            "builds and stores environments",
            "apt-get install nix-bin",
            lambda: programs("nix-store", "nix-instantiate"),
        ),
        Check(
            "build users",
            "each build of Nix runs as one of these users",
            "make system, which adds the group nixbld and its users",
            lambda: _members("nixbld"),
        ),
        Check(
            "busybox",
            "the first program of a build",
            "apt-get install busybox-static",
            lambda: _file(BUSYBOX),
        ),
        Check(
            "overlayfs",
            "maintainer scripts of packages see unpacked archives, which they must not change",
            "modprobe overlay",
            _overlayfs,
        ),
        Check(
            "package lists",
            "the package set is made from apt's lists",
            "apt-get update, on Debian",
            _package_lists,
        ),
        *_for_registries(NixSettings()),
        Check(
            "data folder",
            "users of sandboxes mount environments from below it",
            "chmod o+x on the folder that is named, or another ENVICUTOR_DATA_DIR",
            lambda: _data_dir(local.data_dir),
        ),
        Check(
            "closed folders",
            "they contain submissions, which other accounts must not read",
            "each role of this version closes them when it starts",
            lambda: _closed(local.data_dir),
            required=False,
        ),
        Check(
            "disk",
            f"about {NEEDED_DISK_BYTES >> 30} GiB for the broker, package sets and first environments",
            "another ENVICUTOR_DATA_DIR, or more space",
            lambda: _disk(local.data_dir),
            required=False,
        ),
    ]


def _for_registries(nix: NixSettings) -> list[Check]:
    checks = [
        Check(
            "npm",
            "resolves packages of npm",
            "apt-get install npm",
            lambda: _file(NPM),
            required=bool(nix.npm_registry),
        ),
        Check(
            "certificate authorities",
            "they authenticate the package index and the registry",
            "apt-get install ca-certificates, or another ENVICUTOR_REGISTRIES_CA_FILE",
            lambda: _file(nix.registries_ca_file),
        ),
    ]
    return checks if nix.pypi_index or nix.npm_registry else []


def _members(group: str) -> str:
    try:
        members = grp.getgrnam(group).gr_mem
    except KeyError:
        raise AbsentError(f"there is no group {group}") from None
    if not members:
        raise AbsentError(f"the group {group} has no members")
    return f"{len(members)} in the group {group}"


def _overlayfs() -> str:
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        raise AbsentError("the kernel does not list it")
    return "the kernel has it"


def _file(path: Path) -> str:
    if not path.is_file():
        raise AbsentError(f"{path} is not there")
    return str(path)


def _package_lists() -> str:
    programs("dpkg", "apt-get")
    lists = output("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
    found = [name for name in map(Path, lists.splitlines()) if any(name.parent.glob(f"{name.name}*"))]
    if not found:
        raise AbsentError("apt has none")
    return f"{len(found)} lists"


def _data_dir(folder: Path) -> str:
    present = next(path for path in (folder, *folder.parents) if path.exists())
    for path in (present, *present.resolve().parents):
        if not path.stat().st_mode & 0o001:
            raise AbsentError(f"all users must be able to pass through {path}")
    if not os.access(present, os.W_OK):
        raise AbsentError(f"{present} cannot be written")
    return str(folder)


def _closed(data_dir: Path) -> str:
    if found := open_to_others(data_dir):
        raise AbsentError(f"other accounts can enter {', '.join(map(str, found))}")
    return f"those of {data_dir}"


def _disk(folder: Path) -> str:
    present = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(present).free
    if free_bytes < NEEDED_DISK_BYTES:
        raise AbsentError(f"{free_bytes >> 20} MiB are free at {present}")
    return f"{free_bytes >> 30} GiB are free at {present}"
