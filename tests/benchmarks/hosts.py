"""Hosts of the benchmark of dependencies: Nix stores and caches in folders that end with the benchmark."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from infra.commands.output import print_note
from nix import archives
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Dependencies
from nix.package_set import OpenPackageSet, load, refresh
from nix.settings import NixSettings
from nix.turns import InstallationTurns
from processors.runner import SandboxRunner
from processors.sandbox import Sandboxes


class Has(StrEnum):
    """What a host has before its first build, besides the package set."""

    TREES = "archives unpacked"
    ARCHIVES = "archives in the pool"
    NOTHING = "with downloads"


class Bench:
    """Hosts below one folder, and what they begin with: the pool of archives, and archives unpacked."""

    def __init__(self, folder: Path, sandboxes: Sandboxes) -> None:
        """Copy the pool of this machine; `folder` is on its file system."""
        self._folder, self.sandboxes = folder, sandboxes
        self._runner = SandboxRunner(sandboxes)
        self._key_file = folder / "key"
        command = ["nix-store", "--generate-binary-cache-key", "bench", str(self._key_file), "/dev/stdout"]
        self._public_key = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        self._machine = NixSettings()
        self._pin = refresh(self._machine, print_note).pin
        self.settings = NixSettings(cache_dir=self._cache_dir(folder / "cache", Has.ARCHIVES))
        """Settings of the folder whose archives are unpacked: `warm` unpacks them."""

    @property
    def package_set(self) -> OpenPackageSet:
        """The package set of all hosts."""
        return load(self.settings, self._pin)

    async def warm(self, dependencies: Dependencies) -> None:
        """Download and unpack all archives of an environment for the hosts to come.

        The pool of the machine gets downloaded archives too.
        """
        with self.host(Has.TREES) as cache:
            await self.install(cache, dependencies)
        self.keep_archives()

    def keep_archives(self) -> None:
        """Add archives that were downloaded for the hosts to the pool of the machine."""
        _link_archives(archives.pool(self.settings), archives.pool(self._machine))

    @contextmanager
    def host(self, has: Has, *, sharing: bool = False) -> Iterator[Cache]:
        """Yield the Cache of a host without environments; one that shares publishes and fetches."""
        root = Path(tempfile.mkdtemp(prefix="host-", dir=self._folder))
        root.chmod(0o755)
        try:
            warm = has is Has.TREES
            settings = NixSettings(
                nix_root=root / "nix",
                cache_dir=self.settings.cache_dir if warm else self._cache_dir(root / "cache", has),
                binary_cache_dir=self._folder / "binary-cache" if sharing else None,
                binary_cache_public_key=self._public_key,
                binary_cache_secret_key_file=self._key_file,
            )
            package_set = load(settings, self._pin)
            _ = package_set.index, package_set.names  # a cache builder reads them once
            yield Cache(settings, self._runner)
        finally:
            shutil.rmtree(root)

    async def install(
        self,
        cache: Cache,
        dependencies: Dependencies,
        *,
        again: bool = False,
        turns: InstallationTurns | None = None,
    ) -> InstalledEnvironment:
        """Install an environment within the default limits."""
        return await cache.install(
            dependencies, self._pin, BuildLimits(), lambda _: None, again=again, turns=turns
        )

    async def timed_install(self, cache: Cache, dependencies: Dependencies, *, again: bool = False) -> float:
        """Install an environment and return the seconds that it took."""
        started = time.perf_counter()
        await self.install(cache, dependencies, again=again)
        return time.perf_counter() - started

    @property
    def pin(self) -> str:
        """Pin of the package set of all hosts."""
        return self._pin

    def _cache_dir(self, folder: Path, has: Has) -> Path:
        """Make a cache folder with the machine's package sets, and with its archives if the host has them."""
        sets = self._machine.cache_dir / "package-sets"
        shutil.copytree(sets, folder / "package-sets", copy_function=os.link)
        if has is Has.ARCHIVES:
            own = archives.pool(NixSettings(cache_dir=folder))
            own.mkdir()
            _link_archives(archives.pool(self._machine), own)
        return folder


@contextmanager
def folder_of_hosts() -> Iterator[Path]:
    """Yield a folder beside the machine's pool, so that archives can be linked, and remove it at the end."""
    cache_dir = NixSettings().cache_dir
    cache_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=cache_dir))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _link_archives(source: Path, target: Path) -> None:
    for kind in archives.KINDS:
        for archive in source.glob(kind):
            with suppress(FileExistsError, FileNotFoundError):  # a builder of this machine may trim its pool
                os.link(archive, target / archive.name)
