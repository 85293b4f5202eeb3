"""The Cache: one store path for each set of dependencies, built once, mountable read-only.

Below `nix_root`:

    nix/                    the Nix store and its database
    environments/, locks/   see nix.environments
    locks/KEY.lock          held alone while the environment of that key is being built
    work/KEY/               files of one build; what a killed one left goes with the next

A key stands for contents (see nix.contents): spellings of one environment have the same, so that they are
one build and one store path.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from nix import archives, resolve
from nix.contents import Contents
from nix.dependencies import Dependencies, Packages
from nix.environments import Environments, Installed
from nix.errors import CacheError, DependenciesError, LimitError
from nix.evaluation import Evaluated, evaluate
from nix.eviction import Announce, Eviction
from nix.index import Package
from nix.package_set import OpenPackageSet, load
from nix.runner import Runner
from nix.settings import NixSettings
from nix.store import BuildLimits, Store

__all__ = ["BuildLimits", "Cache", "Installed"]

TREE = ("", "usr", "etc", "var", "var/lib")
"""The folders of an environment that are mounted, and those above them."""

Progress = Callable[[str], None]


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
        """Bound a step that knows no limits. Raises LimitError when time is over."""
        try:
            async with asyncio.timeout(self.limits().wall_time_s):
                yield
        except TimeoutError as error:
            raise LimitError(f"{doing} hit the limit wall_time_s = {self._limits.wall_time_s:g}") from error

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let a step of ours, not of theirs, take no time."""
        started = time.monotonic()
        yield
        self._end += time.monotonic() - started


class Cache:
    """A Nix store below `settings.nix_root`, shared by the processes of a host."""

    def __init__(self, settings: NixSettings, runner: Runner) -> None:
        self._settings = settings
        self._runner = runner
        self._work = settings.nix_root / "work"
        self._work.mkdir(parents=True, exist_ok=True)
        self._store = Store(settings.nix_root, archives.pool(settings), runner, settings.environment_bytes)
        self._environments = Environments(settings.nix_root, self._store.roots)
        self._eviction = Eviction(self._store, self._environments, settings.cache_limit_bytes)

    async def install(
        self,
        dependencies: Dependencies,
        pin: str,
        limits: BuildLimits,
        progress: Progress,
        announce: Announce | None = None,
    ) -> Installed:
        """Evaluate, resolve, fetch and build, once for all processes of the host; root the result.

        `limits.wall_time_s` bounds all of it, without the time that another process takes to do the same.
        With `announce` others are evicted where there is no room.
        Raises DependenciesError (theirs; LimitError where a limit was hit) or CacheError (ours).
        """
        deadline = Deadline(limits)
        try:
            progress("resolving")
            package_set = load(self._settings, pin)
            evaluated = await self._evaluate(dependencies, package_set, deadline)
            roots = package_set.names.base + evaluated.packages
            packages = await asyncio.to_thread(resolve.closure, roots, package_set.index)
            contents = Contents(packages, package_set.set.architecture, evaluated.files)
            async with AsyncExitStack() as stack:
                with deadline.stopped():
                    await stack.enter_async_context(self._environments.key(contents.key()))
                installed = await self._environments.known(contents.key()) or await self._build(
                    contents, package_set, deadline, progress, announce
                )
        except OSError as error:
            raise CacheError(f"installing failed: {error}") from error
        return replace(installed, variables=evaluated.variables)

    @contextmanager
    def hold(self, store_path: str) -> Iterator[Path]:
        """Keep an environment from being evicted; yields the folder of its tree (usr, etc, var).

        Raises MissingError if it is not in this Cache.
        """
        with self._environments.held(store_path):
            yield self._store.physical(store_path)

    async def make_room(self, announce: Announce) -> None:
        """Evict until the store is within its limit. Raises CacheError if Nix fails."""
        await self._eviction.make_room(0, announce)

    async def evict(self, store_path: str, announce: Announce) -> bool:
        """Take an environment out; False where it is not there, is in use, or `announce` says no.

        Its disk space is free once somebody needs room.
        """
        return await self._eviction.evict(store_path, announce)

    @asynccontextmanager
    async def _workplace(self, name: str) -> AsyncIterator[Path]:
        work = self._work / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    async def _evaluate(
        self, dependencies: Dependencies, package_set: OpenPackageSet, deadline: Deadline
    ) -> Evaluated:
        if isinstance(dependencies, Packages):
            found = await asyncio.to_thread(
                resolve.debian_names, dependencies.names, package_set.index, package_set.names
            )
            return Evaluated.model_construct(packages=found, variables={})
        limits = deadline.limits()
        return await evaluate(
            dependencies.text, package_set, self._runner, limits.wall_time_s, limits.memory_bytes
        )

    async def _build(
        self,
        contents: Contents,
        package_set: OpenPackageSet,
        deadline: Deadline,
        progress: Progress,
        announce: Announce | None,
    ) -> Installed:
        size_bytes = self._check_size(contents.packages)
        if announce:
            with deadline.stopped():
                await self._eviction.make_room(size_bytes, announce)
        async with deadline.step("fetching"):
            await archives.fetch(contents.packages, package_set.set, self._settings, progress)
        async with self._workplace(contents.key()) as work:
            progress(f"building an environment of {len(contents.packages)} packages")
            realised = await self._store.realise(contents, work, deadline.limits())
            _check_tree(self._store.physical(realised.store_path))
            installed = Installed(
                store_path=realised.store_path,
                variables={},
                packages=sorted(package.name for package in contents.packages),
                size_bytes=await self._store.size_bytes(realised.store_path, work, deadline.limits()),
                log=realised.log,
            )
            # Until it has a root of its own, `work` keeps it.
            await self._environments.add(contents.key(), installed)
        return installed

    def _check_size(self, packages: list[Package]) -> int:
        """Return what the packages take at most, by what they say."""
        size, limit = sum(package.installed_bytes for package in packages), self._settings.environment_bytes
        if size > limit:
            raise LimitError(
                f"the packages take {size >> 20} MiB; an environment may take {limit >> 20} MiB "
                "(environment_bytes)"
            )
        return size


def _check_tree(tree: Path) -> None:
    """Refuse a tree whose folders are links: mounting them would mount whatever they point to on the host."""
    for folder in TREE:
        if (tree / folder).is_symlink() or not (tree / folder).is_dir():
            raise DependenciesError(f"the packages make /{folder} something else than a folder")
