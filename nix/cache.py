"""The Cache: a store path for each environment, built once for a host and mounted read-only.

Below `nix_root`:

    nix/                    the Nix store and its database
    environments/, locks/   see nix.environments
    locks/NAME.lock         exclusive while the environment of that key is installed or fetched
    work/NAME/              files of one installation; eviction removes those of killed processes
    evaluations/            results of expressions, see nix.evaluations

A key is the hash of contents (see nix.contents): different spellings of one environment have the same key, so
that they share a build and a store path.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from nix import archives, disk_usage, folders, locks, resolve
from nix.artifacts import ResolvedArtifact
from nix.assembly import RegistryLayer, assemble
from nix.binary_cache import BinaryCache, checked_secret_key_file
from nix.contents import ENVIRONMENT_FORMAT, Contents, format_of
from nix.deadline import Deadline
from nix.dependencies import Dependencies, Packages
from nix.environments import STORE_PATH, Environments, InstalledEnvironment
from nix.errors import CacheError, EnvironmentNotFoundError, LimitError
from nix.evaluated import Evaluated
from nix.evaluation import check, evaluate
from nix.evaluations import Evaluations
from nix.eviction import Announce, Eviction
from nix.index import Package
from nix.installation import Installation
from nix.nix_store import NixStore
from nix.package_set import load
from nix.programs import check_programs
from nix.progress import Progress, Step
from nix.registries import pinned
from nix.registries.sandbox import Registries
from nix.runner import BuildLimits, Runner
from nix.settings import NixSettings
from nix.trees import BuildTrees, Trees, archive_tree
from nix.turns import InstallationTurns, Unlimited

__all__ = ["BuildLimits", "Cache", "InstalledEnvironment"]


class Cache:
    """A Nix store below `settings.nix_root`, shared by the processes of a host."""

    def __init__(self, settings: NixSettings, runner: Runner) -> None:
        self._settings = settings
        self._runner = runner
        self._registries = Registries(settings, runner)
        self._work = settings.nix_root / "work"
        self._work.mkdir(parents=True, exist_ok=True)
        self._store = NixStore(settings.nix_root, runner, settings.environment_bytes)
        self._environments = Environments(settings.nix_root, self._store.roots)
        self._trees = Trees(settings, runner)
        self._eviction = Eviction(self._store, self._environments, self._trees, settings.cache_limit_bytes)
        self._evaluations = Evaluations(settings.nix_root / "evaluations")
        folder = settings.binary_cache_dir
        self._binary_cache = folder and BinaryCache(folder, settings, self._store)

    @property
    def publishes(self) -> bool:
        """True if other hosts can fetch the environments that this host installs."""
        return self._binary_cache is not None

    async def check_programs(self) -> None:
        """Raise CacheError if sandboxes cannot execute programs of installed environments."""
        await check_programs(self._settings.nix_root, self._runner)

    async def check_builder(self) -> None:
        """Prepare this host for builds, and the binary cache for other hosts.

        Raises:
            CacheError: this host cannot evaluate expressions, or cannot publish environments.
        """
        if self._binary_cache:
            checked_secret_key_file(self._settings)
            await self._binary_cache.prepare()
        await check(self._runner)

    async def install(
        self,
        dependencies: Dependencies,
        pin: str,
        limits: BuildLimits,
        progress: Progress,
        announce: Announce | None = None,
        *,
        again: bool = False,
        resolution: Sequence[ResolvedArtifact] = (),
        turns: InstallationTurns | None = None,
    ) -> InstalledEnvironment:
        """Evaluate, resolve, download, build, root and publish, once for all processes of the host.

        Args:
            dependencies: what the submission asks for.
            pin: the package set to resolve them in.
            limits: `wall_time_s` bounds all steps together, but not waiting for another process that
                installs the same environment.
            progress: receives the steps.
            announce: if given, other environments are evicted when the build needs room.
            again: publish even if the environment is published, because a host could not fetch it.
            resolution: archives that the pinned packages resolved to before; only these are installed.
            turns: slots of the steps; without it none is waited for.

        Raises:
            LimitError: the dependencies hit a limit.
            DependenciesError: the dependencies are wrong or cannot be built.
            CacheError: a host error.
        """
        try:
            package_set = await asyncio.to_thread(load, self._settings, pin)
            deadline = Deadline(limits)
            installation = Installation(package_set, deadline, progress, turns or Unlimited())
            evaluated = await self._evaluate(dependencies, installation)
            roots = package_set.names.base + evaluated.packages + pinned.needed(dependencies.pinned)
            packages = await asyncio.to_thread(resolve.closure, roots, package_set.index)
            artifacts = tuple(resolution)
            if dependencies.pinned and not artifacts:
                async with installation.preparation():
                    artifacts = await pinned.resolve(
                        dependencies.pinned, packages, self._registries, deadline, progress
                    )
            pinned.check(artifacts, self._settings)
            contents = Contents(packages, package_set.set.architecture, evaluated.files, artifacts)
            # In this order: what waits for another process's build of the same key needs no slot.
            async with (
                self._exclusive(contents.key(), deadline) as work,
                installation.preparation(),
            ):
                installed = await self._environments.known(contents.key())
                if not installed:
                    installed = await self._build(contents, work, installation, announce)
                if self._binary_cache:
                    progress(Step("publishing"))
                    with self._environments.held(installed.store_path):
                        await self._binary_cache.publish(installed.store_path, work, again=again)
        except OSError as error:
            raise CacheError(f"installing failed: {error}") from error
        return replace(installed, variables=evaluated.variables, resolution=artifacts)

    async def fetch(self, store_path: str, size_bytes: int, announce: Announce) -> None:
        """Fetch an environment from the binary cache, once for all processes of the host.

        Other environments are evicted if there is no room for `size_bytes`.

        Raises:
            EnvironmentNotFoundError: it is not available or its format is too old; it must be built again.
            CacheError: a host error.
        """
        if not STORE_PATH.fullmatch(store_path):
            raise EnvironmentNotFoundError(f"{store_path!r} is not the store path of an environment")
        name = f"{Path(store_path).name}.fetch"
        try:
            async with self._environments.key(name):
                if self._environments.installed(store_path):
                    _check_format(self._store.physical(store_path))
                    return
                if not self._binary_cache:
                    raise EnvironmentNotFoundError(f"{store_path} is not in the Cache of this host")
                await self._eviction.make_room(size_bytes, announce)
                async with self._workplace(name) as work, self._environments.adding(store_path):
                    if self._environments.installed(store_path):  # a build has added it meanwhile
                        _check_format(self._store.physical(store_path))
                        return
                    await self._binary_cache.fetch(store_path, work)
                    _check_format(self._store.physical(store_path))
                    # A GC root in `work` keeps the environment until it has its own.
                    await self._environments.add_root(store_path)
        except OSError as error:
            raise CacheError(f"fetching failed: {error}") from error

    @contextmanager
    def hold(self, store_path: str) -> Iterator[Path]:
        """Keep an environment from eviction; yield the folder of its tree (usr, etc, var).

        Raises:
            EnvironmentNotFoundError: the environment is not in this Cache, or its format is too old.
        """
        with self._environments.held(store_path):
            tree = self._store.physical(store_path)
            _check_format(tree)
            yield tree

    async def publish(self, progress: Callable[[str], None]) -> int:
        """Publish the environments that are not yet in the binary cache; return how many were published.

        Environments of older formats are left out, since no host would use them.

        Raises:
            CacheError: there is no binary cache, or it cannot be written.
            OSError: the Nix store cannot be read.
        """
        if not self._binary_cache:
            raise CacheError("there is no binary cache: set ENVICUTOR_BINARY_CACHE_DIR")
        checked_secret_key_file(self._settings)
        await self._binary_cache.prepare()
        published = 0
        for _, store_path in self._environments.used_longest_ago_first():
            name = f"{Path(store_path).name}.publish"
            async with self._environments.key(name), self._workplace(name) as work:
                try:
                    with self.hold(store_path):
                        if await self._binary_cache.publish(store_path, work, again=False):
                            progress(f"published {store_path}")
                            published += 1
                except EnvironmentNotFoundError as error:
                    progress(f"left out {store_path}: {error}")
        return published

    def has(self, store_path: str) -> bool:
        """Return whether an environment of any format is in this Cache."""
        return bool(STORE_PATH.fullmatch(store_path)) and self._environments.installed(store_path)

    async def make_room(self, announce: Announce) -> None:
        """Evict environments until the Nix store is within its limit.

        Raises:
            CacheError: Nix cannot collect garbage.
        """
        await asyncio.to_thread(self._sweep)
        await self._eviction.make_room(0, announce)

    async def evict(self, store_path: str, announce: Announce) -> bool:
        """Evict an environment; return False if it is absent, in use, or refused by `announce`.

        The next call of `make_room` that needs room frees its disk space.
        """
        return await self._eviction.evict(store_path, announce)

    def _sweep(self) -> None:
        """Remove work folders of killed processes, whose GC roots keep unfinished environments."""
        for work in self._work.iterdir():
            with locks.try_exclusive(self._environments.key_lock(work.name)) as abandoned:
                if abandoned:
                    folders.remove_now(work)

    @asynccontextmanager
    async def _exclusive(self, key: str, deadline: Deadline) -> AsyncIterator[Path]:
        """Lock the key, without charging the wait to the deadline; yield a work folder."""
        async with AsyncExitStack() as stack:
            with deadline.stopped():
                await stack.enter_async_context(self._environments.key(key))
            yield await stack.enter_async_context(self._workplace(key))

    @asynccontextmanager
    async def _workplace(self, name: str) -> AsyncIterator[Path]:
        work = await folders.fresh(self._work / name)
        try:
            yield work
        finally:
            await folders.remove(work)

    async def _evaluate(self, dependencies: Dependencies, installation: Installation) -> Evaluated:
        package_set = installation.package_set
        if isinstance(dependencies, Packages):
            found = await asyncio.to_thread(
                resolve.debian_names, dependencies.names, package_set.index, package_set.names
            )
            return Evaluated.model_construct(packages=found, variables={})
        text, pin = dependencies.text, package_set.set.pin
        if known := await asyncio.to_thread(self._evaluations.get, text, pin):
            return known
        async with installation.evaluation():
            installation.progress(Step("evaluating"))
            limits = installation.deadline.limits()
            evaluated = await evaluate(
                text, package_set, self._runner, limits.wall_time_s, limits.memory_bytes
            )
        await asyncio.to_thread(self._evaluations.put, text, pin, evaluated)
        return evaluated

    async def _build(
        self, contents: Contents, work: Path, installation: Installation, announce: Announce | None
    ) -> InstalledEnvironment:
        """Build an environment and add it to the installed ones."""
        size_bytes = self._check_size(contents.packages)
        if announce:
            with installation.deadline.stopped():
                await self._eviction.make_room(size_bytes, announce)
        with archives.folder_of_a_build(self._settings) as folder:
            digest = await pinned.layer(
                contents, folder, self._registries, installation.deadline, installation.progress
            )
            layer = RegistryLayer(folder / "layer.tar", digest) if digest else None
            trees = BuildTrees(self._trees, pins=folder)
            await self._unpack(contents.packages, trees, folder, work, installation)
            assembled = await assemble(contents, layer, trees, self._store, work, installation)
        async with self._environments.adding(assembled.store_path), self._store.uncollected():
            size_bytes = await self._store.register(assembled.tree, assembled.store_path, work)
            place = self._store.physical(assembled.store_path)
            installed = InstalledEnvironment(
                store_path=assembled.store_path,
                variables={},
                packages=sorted(package.name for package in contents.packages)
                + sorted(artifact.label for artifact in contents.artifacts),
                size_bytes=size_bytes,
                log=assembled.log,
                trees=sorted(trees.pinned),
                own_bytes=await asyncio.to_thread(disk_usage.unshared_bytes, place),
            )
            await self._environments.add(contents.key(), installed)
        return installed

    async def _unpack(
        self,
        packages: Sequence[Package],
        trees: BuildTrees,
        folder: Path,
        work: Path,
        installation: Installation,
    ) -> None:
        """Unpack the archives that this host has not unpacked yet, while others of them are downloaded."""
        named = {archive_tree(package): package for package in packages}
        missing = [named[name] for name in await trees.pin(named)]
        if not missing:
            return
        package_set, progress = installation.package_set.set, installation.progress
        arriving = archives.fetch(missing, folder, package_set, self._settings, progress)
        async with (
            aclosing(arriving),
            aclosing(installation.deadline.arrivals("fetching", arriving)) as in_time,
        ):
            await trees.unpack(in_time, folder, len(missing), work, installation)

    def _check_size(self, packages: list[Package]) -> int:
        """Return the sum of the installed sizes that the packages declare.

        Raises:
            LimitError: the sum exceeds `environment_bytes`.
        """
        size, limit = sum(package.installed_bytes for package in packages), self._settings.environment_bytes
        if size > limit:
            raise LimitError(
                f"the packages take {size >> 20} MiB; an environment may take {limit >> 20} MiB "
                "(environment_bytes)"
            )
        return size


def _check_format(tree: Path) -> None:
    """Raise EnvironmentNotFoundError for an environment of an older format, so that it is built again.

    Environments of later versions are accepted, since hosts with builders are upgraded first.
    """
    try:
        found = format_of(tree)
    except (OSError, ValueError) as error:
        raise EnvironmentNotFoundError(f"the format of {tree.name} cannot be read: {error}") from error
    if found < ENVIRONMENT_FORMAT:
        raise EnvironmentNotFoundError(
            f"{tree.name} was built in format {found}, and this host needs format {ENVIRONMENT_FORMAT}; "
            "upgrade all cache builders if this message repeats"
        )
