"""apt-get on its own: packages installed into an empty folder from archives that are there."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from nix import archives, resolve
from nix.index import Package
from nix.package_set import OpenPackageSet
from nix.settings import NixSettings

FOLDERS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Folders of /usr that links in the root folder lead to."""
DPKG_OPTIONS = ("--force-unsafe-io",)
"""Without it dpkg waits until the disk has each file."""


class Apt:
    """An apt-get whose state, archives and configuration are apart from the host's; its lists are the host's.

    The folder gets base packages and dpkg first, as debootstrap does it: maintainer scripts need a shell.
    """

    def __init__(self, folder: Path, package_set: OpenPackageSet, names: Sequence[str]) -> None:
        """Prepare the installation of Debian packages and of the base packages below `folder`."""
        self._folder, self._root, self._archives = folder, folder / "root", folder / "archives"
        self._package_set = package_set
        base = package_set.names.base
        self._names = [*base, *names]
        self._first = resolve.closure([*base, "dpkg"], package_set.index)
        """Packages whose files are there before apt-get begins."""
        for place in (self._archives / "partial", folder / "log"):
            place.mkdir(parents=True)
        (folder / "apt.conf").write_text(_configuration(folder))
        self._make_root()
        listed = self._apt("install", "--print-uris", *self._names)
        self._files = archive_files(listed)
        self.extracting_s: list[float] = []
        """Seconds of each installation that went by before apt-get began."""

    @property
    def packages(self) -> int:
        """Number of packages that apt-get installs."""
        return len(self._files)

    async def fetch_archives(self, settings: NixSettings) -> None:
        """Link the archives from the pool of `settings`, which downloads those that it does not have.

        Raises:
            CacheError: an archive could not be downloaded.
        """
        found = [self._package(name) for name in self._files]
        package_set = self._package_set.set
        with archives.folder_of_a_build(settings) as links:
            async for _ in archives.fetch(found, links, package_set, settings, lambda _: None):
                pass
            for package in found:
                os.link(links / f"{package.sha256}.deb", self._archives / self._files[package.name])

    def install(self) -> float:
        """Install everything into an empty folder and return the seconds that it took.

        Raises:
            RuntimeError: a command failed, or Python does not run.
        """
        started = time.perf_counter()
        self._make_root()
        for package in self._first:
            archive = self._archives / self._files[package.name]
            self._run("dpkg-deb", "--extract", str(archive), str(self._root))
        for name in ("passwd", "group"):
            shutil.copy(self._root / f"usr/share/base-passwd/{name}.master", self._root / "etc" / name)
        self.extracting_s.append(time.perf_counter() - started)
        options = [f"DPkg::Options::={option}" for option in (f"--root={self._root}", *DPKG_OPTIONS)]
        self._apt("install", "--yes", "--no-download", *_each("-o", options), *self._names)
        taken_s = time.perf_counter() - started
        self._run("chroot", str(self._root), "python3", "-c", "print(1)")
        return taken_s

    def _make_root(self) -> None:
        """Make a root folder with what apt and dpkg need: empty databases, and links of the merged /usr."""
        shutil.rmtree(self._root, ignore_errors=True)
        for place in ("apt", "dpkg/info", "dpkg/updates"):
            (self._root / "var/lib" / place).mkdir(parents=True)
        (self._root / "var/lib/dpkg/status").touch()
        for name in FOLDERS:
            (self._root / "usr" / name).mkdir(parents=True)
            (self._root / name).symlink_to(f"usr/{name}")

    def _package(self, name: str) -> Package:
        package = self._package_set.index.package(name)
        if package is None:
            raise LookupError(f"apt-get installs {name}, which is not in the package set")
        return package

    def _apt(self, *arguments: str) -> str:
        return self._run("apt-get", "-qq", "-o", "DPkg::Use-Pty=0", *arguments)

    def _run(self, *argv: str) -> str:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "APT_CONFIG": str(self._folder / "apt.conf"),
        }
        ran = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(f"{argv[0]} ended with {ran.returncode}: {ran.stderr[-2000:]}")
        return ran.stdout


def archive_files(listed: str) -> dict[str, str]:
    """Return apt's file names of archives by package, from the output of `apt-get --print-uris`.

    Each of its lines is `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE DIGEST`.
    """
    files = [line.split(" ")[1] for line in listed.splitlines() if line.startswith("'")]
    return {file.partition("_")[0]: file for file in files}


def _each(option: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield from (option, value)


def _configuration(folder: Path) -> str:
    """Return the whole configuration; that of the host may remove archives after each installation."""
    values = {
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::State::status": folder / "root/var/lib/dpkg/status",
        "Dir::State::extended_states": folder / "root/var/lib/apt/extended_states",
        "Dir::Log": folder / "log",
        "APT::Install-Recommends": "false",
    }
    return "".join(f'{name} "{value}";\n' for name, value in values.items())
