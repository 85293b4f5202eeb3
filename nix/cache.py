"""The Cache: one store path for each set of dependencies, built once, mountable read-only.

Below `nix_root`:

    nix/                            the Nix store and its database
    environments/KEY.json           what was installed for a key; true while the environment's root is there
    locks/KEY.lock                  held alone while that key is being installed
    locks/HASH-environment.lock     shared while an environment is in use; its eviction needs it alone
    work/KEY/                       files of one installation; what a killed one left goes with the next
"""

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nix import archives, locks, resolve
from nix.dependencies import Dependencies, Packages, key
from nix.errors import CacheError, DependenciesError, MissingError
from nix.evaluation import evaluate
from nix.index import Package
from nix.package_set import OpenPackageSet, load
from nix.runner import Runner
from nix.settings import NixSettings
from nix.store import BuildLimits, Store

__all__ = ["BuildLimits", "Cache", "Installed"]

STORE_PATH = re.compile(r"/nix/store/(?P<name>[0-9a-z]{32}-environment)")
TREE = ("", "usr", "etc", "var", "var/lib")
"""The folders of an environment that are mounted, and those above them."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Installed:
    """An environment in the Cache."""

    store_path: str
    """What `hold` takes; the same on every host."""
    variables: dict[str, str]
    """Environment variables that the expression asked for."""
    packages: list[str]
    """All packages in the environment, the resolved closure, sorted."""
    size_bytes: int
    log: str
    """What the build printed."""


class Deadline:
    """What is left of the time for one installation."""

    def __init__(self, limits: BuildLimits) -> None:
        self._limits = limits
        self._end = time.monotonic() + limits.wall_time_s

    def limits(self) -> BuildLimits:
        """Return the limits of the next step. One that has no time left says so itself."""
        return replace(self._limits, wall_time_s=max(self._end - time.monotonic(), 0.001))

    @asynccontextmanager
    async def step(self, doing: str) -> AsyncIterator[None]:
        """Bound a step that knows no limits. Raises DependenciesError when time is over."""
        try:
            async with asyncio.timeout(self.limits().wall_time_s):
                yield
        except TimeoutError as error:
            raise DependenciesError(
                f"{doing} hit the limit wall_time_s = {self._limits.wall_time_s:g}"
            ) from error


class Cache:
    """A Nix store below `settings.nix_root`, shared by the processes of a host."""

    def __init__(self, settings: NixSettings, runner: Runner) -> None:
        root = settings.nix_root
        self._settings = settings
        self._runner = runner
        self._store = Store(root, archives.pool(settings), runner)
        self._environments, self._locks, self._work = root / "environments", root / "locks", root / "work"
        for folder in (self._environments, self._locks, self._work, self._store.roots):
            folder.mkdir(parents=True, exist_ok=True)

    async def install(
        self, dependencies: Dependencies, pin: str, limits: BuildLimits, progress: Progress
    ) -> Installed:
        """Evaluate, resolve, fetch and build, once for all processes of the host; root the result.

        `limits.wall_time_s` bounds all of it, without the time that another process takes to do the same.
        Raises DependenciesError (theirs) or CacheError (ours).
        """
        name = key(dependencies, pin)
        try:
            async with locks.exclusive(self._locks / f"{name}.lock"):
                known = self._known(name)
                return known or await self._install(
                    name, dependencies, load(self._settings, pin), limits, progress
                )
        except OSError as error:
            raise CacheError(f"installing failed: {error}") from error

    @contextmanager
    def hold(self, store_path: str) -> Iterator[Path]:
        """Keep an environment from being evicted; yields the folder of its tree (usr, etc, var).

        Raises MissingError if it is not in this Cache.
        """
        match = STORE_PATH.fullmatch(store_path)
        if not match:
            raise MissingError(f"{store_path!r} is not the store path of an environment")
        name = match["name"]
        # The lock comes first: what was seen without it may be gone a moment later.
        with locks.shared(self._locks / f"{name}.lock") as held:
            if not held or not (self._store.roots / name).is_symlink():
                raise MissingError(f"{store_path} is not in the Cache of this host")
            yield self._store.physical(store_path)

    def _known(self, name: str) -> Installed | None:
        """Return what is installed for a key, if its record makes sense and its tree is there."""
        try:
            installed = Installed(**json.loads((self._environments / f"{name}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return installed if self._root(installed.store_path).is_symlink() else None

    async def _install(
        self,
        name: str,
        dependencies: Dependencies,
        package_set: OpenPackageSet,
        limits: BuildLimits,
        progress: Progress,
    ) -> Installed:
        work = self._work / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            installed = await self._build(dependencies, package_set, work, Deadline(limits), progress)
            # In this order: a record without root is nothing, and `work` keeps the tree until it has one.
            _replace_link(self._root(installed.store_path), installed.store_path)
            _replace_file(self._environments / f"{name}.json", json.dumps(asdict(installed)))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return installed

    async def _build(
        self,
        dependencies: Dependencies,
        package_set: OpenPackageSet,
        work: Path,
        deadline: Deadline,
        progress: Progress,
    ) -> Installed:
        progress("resolving")
        roots, variables = await self._roots(dependencies, package_set, work, deadline)
        packages = await asyncio.to_thread(resolve.closure, roots, package_set.index)
        self._check_size(packages)
        async with deadline.step("fetching"):
            await archives.fetch(packages, package_set.set, self._settings, progress)
        progress(f"building an environment of {len(packages)} packages")
        realised = await self._store.realise(packages, package_set.set.architecture, work, deadline.limits())
        _check_tree(self._store.physical(realised.store_path))
        return Installed(
            store_path=realised.store_path,
            variables=variables,
            packages=sorted(package.name for package in packages),
            size_bytes=await self._store.size_bytes(realised.store_path, work, deadline.limits()),
            log=realised.log,
        )

    async def _roots(
        self, dependencies: Dependencies, package_set: OpenPackageSet, work: Path, deadline: Deadline
    ) -> tuple[list[str], dict[str, str]]:
        """Return the Debian packages asked for, those of the base among them, and the variables."""
        names = package_set.names
        if isinstance(dependencies, Packages):
            found = await asyncio.to_thread(
                resolve.debian_names, dependencies.names, package_set.index, names
            )
            return names.base + found, {}
        limits = deadline.limits()
        evaluated = await evaluate(
            dependencies.text, package_set, work, self._runner, limits.wall_time_s, limits.memory_bytes
        )
        return names.base + evaluated.packages, evaluated.variables

    def _check_size(self, packages: list[Package]) -> None:
        size, limit = sum(package.installed_bytes for package in packages), self._settings.environment_bytes
        if size > limit:
            raise DependenciesError(
                f"the packages take {size >> 20} MiB; an environment may take {limit >> 20} MiB"
            )

    def _root(self, store_path: str) -> Path:
        return self._store.roots / Path(store_path).name


def _check_tree(tree: Path) -> None:
    """Refuse a tree whose folders are links: mounting them would mount whatever they point to on the host."""
    for folder in TREE:
        if (tree / folder).is_symlink() or not (tree / folder).is_dir():
            raise DependenciesError(f"the packages make /{folder} something else than a folder")


def _replace_link(link: Path, target: str) -> None:
    draft = link.with_name(f".{link.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.rename(link)


def _replace_file(file: Path, content: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(content)
    draft.rename(file)
