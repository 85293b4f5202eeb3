"""Unpacked archives, and the bytecode of their modules: each made once for all environments of a host.

Below `cache_dir/trees`, a Nix store of its own, which all Nix stores of the host use:

    nix/                                the trees, as store paths
    nix/var/nix/gcroots/envicutor/NAME  a link to each tree; its mtime is the time of the tree's last use
    locks/NAME.lock                     exclusive while the tree of that name is made
    locks/NAME.bytes                    disk space of the tree
    locks/NAME.draft                    a link or a note that is being written

A tree is named by the digest of what it is made of. Environments consist of hard links to the files of trees,
and a build links a file of each tree that it needs. The link counts of its files show whether a tree is in
use.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from nix import disk_usage, locks
from nix.contents import manifest
from nix.errors import CacheError
from nix.folders import fresh
from nix.index import Package
from nix.installation import Installation
from nix.nix_store import BUILDER, NixStore
from nix.progress import Step
from nix.runner import Runner
from nix.settings import NixSettings

log = logging.getLogger(__name__)

SCRIPTS = (
    "common.nix",
    "common.sh",
    "trees.nix",
    "unpack.sh",
    "bytecode.nix",
    "bytecode.sh",
    "compile_modules.py",
)
"""Files of the folder `builder` that determine what a tree is.

With a change of one all trees are made again, and ENVIRONMENT_FORMAT must be raised.
"""
MOST_AT_ONCE = 64
"""Trees that one build makes at most, so that progress is seen and a command line remains short."""
MARK = "mark"
"""File of each tree to which a build that needs the tree has a hard link."""

ItemT = TypeVar("ItemT")


def archive_tree(package: Package) -> str:
    """Return the name of the tree of a Debian archive."""
    return f"{_format()}.{package.sha256}"


@cache
def _format() -> str:
    """Return 8 hex digits of a hash of the scripts that make trees."""
    digest = hashlib.sha256(b"".join((BUILDER / name).read_bytes() for name in SCRIPTS))
    return digest.hexdigest()[:8]


class Trees:
    """The trees of a host, shared by its processes."""

    def __init__(self, settings: NixSettings, runner: Runner) -> None:
        root = settings.cache_dir / "trees"
        self.store = NixStore(root, runner, settings.environment_bytes, optimise=False)
        self._locks = root / "locks"
        self.removing = self._locks / "removing.lock"
        """Lock file, exclusive while trees are removed, shared while some are pinned."""

    def find(self, name: str) -> Path | None:
        """Return the folder of a tree; None if it has no GC root."""
        try:
            return self.store.physical(os.readlink(self.store.roots / name))  # noqa: PTH115 - Path normalizes
        except FileNotFoundError:
            return None

    def size_bytes(self) -> int:
        """Return the disk space of all trees; files that environments link count here."""
        return sum(self._size_bytes(name) for name in self.names())

    def used_bytes(self, own: Collection[str]) -> int:
        """Return the disk space of the trees that are among `own` or not in use."""
        return sum(
            self._size_bytes(name) for name in self.names() if name in own or not self._is_linked(name)
        )

    async def remove_unused(self, excess_bytes: float) -> bool:
        """Free disk space if `excess_bytes` is positive; return whether a tree was removed.

        Trees that no environment uses are removed, least recently used first, until enough is free. In any
        case the remains of processes that were killed go: trees that did not get their names.

        Raises:
            CacheError: Nix cannot collect garbage.
        """
        if excess_bytes <= 0:
            return False
        async with locks.exclusive(self.removing):
            removed = await asyncio.to_thread(self._remove_roots, excess_bytes)
        await self.store.collect_garbage()
        if removed:
            log.info("removed %d unpacked archives", removed)
        return removed > 0

    def _remove_roots(self, excess_bytes: float) -> int:
        removed = 0
        for _, name in sorted((self._last_use(name), name) for name in self.names()):
            is_lost = self.lost(name) is not None
            if is_lost or (excess_bytes > 0 and not self._is_linked(name)):
                excess_bytes -= 0 if is_lost else self._size_bytes(name)
                self.forget(name)
                removed += 1
        return removed

    def names(self) -> list[str]:
        """Return the names of all trees."""
        return [root.name for root in self.store.roots.iterdir()]

    def _is_linked(self, name: str) -> bool:
        """Return whether an environment or a build has hard links to files of a tree."""
        tree = self.find(name)
        return tree is not None and disk_usage.is_linked(tree)

    def _size_bytes(self, name: str) -> int:
        """Return the disk space of a tree, which was noted when it was made."""
        with suppress(FileNotFoundError, ValueError):
            return int(self._note(name).read_text())
        tree = self.find(name)
        return disk_usage.total_bytes(tree) if tree else 0

    def keep(self, name: str, store_path: str) -> None:
        """Give a tree its name; the caller holds its lock, and a shared one of `removing`."""
        draft = self._locks / f"{name}.draft"  # not among the GC roots, where a killed process would leave it
        draft.unlink(missing_ok=True)
        draft.write_text(str(disk_usage.total_bytes(self.store.physical(store_path))))
        draft.rename(self._note(name))
        draft.symlink_to(store_path)
        draft.rename(self.store.roots / name)

    def lost(self, name: str) -> str | None:
        """Return the store path of a tree that has a GC root while its files are gone, else None.

        A power failure leaves such a tree, or a repair by hand.
        """
        tree = self.find(name)
        return None if tree is None or (tree / MARK).exists() else f"/nix/store/{tree.name}"

    def forget(self, name: str) -> None:
        """Remove the GC root of a tree; garbage collection deletes the rest."""
        (self.store.roots / name).unlink(missing_ok=True)
        self._note(name).unlink(missing_ok=True)

    def _note(self, name: str) -> Path:
        return self._locks / f"{name}.bytes"

    def _last_use(self, name: str) -> float:
        try:
            return (self.store.roots / name).lstat().st_mtime
        except FileNotFoundError:
            return 0.0

    def lock(self, name: str) -> Path:
        """Return the lock file of a tree."""
        return self._locks / f"{name}.lock"


class BuildTrees:
    """The trees that one build needs, kept from removal by links in a folder that ends with the build."""

    def __init__(self, trees: Trees, pins: Path) -> None:
        """`pins` is a folder on the file system of the trees."""
        self._trees, self._pins = trees, pins
        self.store = trees.store
        self.pinned: set[str] = set()
        """Names of the trees that the build has asked for so far, and that are there."""

    async def pin(self, names: Iterable[str]) -> list[str]:
        """Pin those of the trees that are there; return the names of the others."""
        async with locks.shared(self._trees.removing):
            return await asyncio.to_thread(lambda: [name for name in names if not self._pin(name)])

    def folder(self, name: str) -> Path:
        """Return the folder of a tree that is pinned.

        Raises:
            CacheError: it is missing all the same, since something else than this program removed it.
        """
        tree = self._trees.find(name)
        if tree is None:
            raise CacheError(f"the unpacked archive {name} is missing")
        return tree

    async def make(
        self,
        wanted: Mapping[str, ItemT],
        build: Callable[[list[ItemT]], Awaitable[Sequence[str]]],
        installation: Installation,
    ) -> None:
        """Make the trees that are missing, each once for all processes of the host, and pin all of them.

        `build` gets the items of missing names and returns the store paths of their trees in the same order.
        GC roots must keep these until it is called again or the caller ends. It is called within a slot of
        builds. Locks are held only within a slot, and no lock is waited for there, so that no build waits for
        one that waits for its turn.
        """
        while missing := await self.pin(wanted):
            async with installation.build():
                made = await self._make_free(missing, wanted, build)
            if not made:
                with installation.deadline.stopped():
                    async with locks.exclusive(self._trees.lock(missing[0])):
                        pass  # another process has made it

    async def _make_free(
        self,
        missing: Sequence[str],
        wanted: Mapping[str, ItemT],
        build: Callable[[list[ItemT]], Awaitable[Sequence[str]]],
    ) -> bool:
        """Make up to MOST_AT_ONCE trees that no other process makes; return False if there is none."""
        with ExitStack() as stack:
            held = self._lock_free(missing, stack)
            # Another process may have made some before the lock was held.
            if mine := await self.pin(held):
                await self._forget_lost(mine)
                store_paths = await build([wanted[name] for name in mine])
                async with locks.shared(self._trees.removing):
                    await asyncio.to_thread(self._keep, dict(zip(mine, store_paths, strict=True)))
            return bool(held)

    def _lock_free(self, names: Iterable[str], stack: ExitStack) -> list[str]:
        """Lock up to MOST_AT_ONCE of the trees until `stack` ends, without waiting; return their names."""
        held: list[str] = []
        for name in names:
            with ExitStack() as attempt:
                if attempt.enter_context(locks.try_exclusive(self._trees.lock(name))):
                    held.append(name)
                    stack.enter_context(attempt.pop_all())
            if len(held) == MOST_AT_ONCE:
                break
        return held

    async def _forget_lost(self, names: Iterable[str]) -> None:
        """Have Nix forget trees whose files are gone, since it would not build what it takes for valid."""
        for name in names:
            if store_path := self._trees.lost(name):
                log.warning("the files of the unpacked archive %s are gone: it is made again", name)
                self._trees.forget(name)
                await self.store.delete(store_path)

    def _keep(self, made: Mapping[str, str]) -> None:
        """Pin the trees of these store paths and give them their names."""
        for name, store_path in made.items():
            os.link(self.store.physical(store_path) / MARK, self._pins / name)
            self._trees.keep(name, store_path)
            self.pinned.add(name)

    async def unpack(
        self,
        arriving: AsyncIterator[list[Package]],
        archives: Path,
        total: int,
        work: Path,
        installation: Installation,
    ) -> None:
        """Unpack archives as they arrive in the folder `archives`, within the slots of builds.

        Raises:
            LimitError: the archives hit a limit.
            DependenciesError: an archive cannot be unpacked.
            CacheError: a host error.
        """
        done = 0

        async def build(packages: list[Package]) -> Sequence[str]:
            nonlocal done
            installation.progress(Step("unpacking", done, total))
            store_paths = await self._unpack(packages, archives, work, installation)
            done += len(packages)
            installation.progress(Step("unpacking", done, total))
            return store_paths

        async for packages in arriving:
            # The largest first, so that no core waits for the last one.
            ordered = sorted(packages, key=lambda package: -package.archive_bytes)
            await self.make({archive_tree(package): package for package in ordered}, build, installation)

    def _pin(self, name: str) -> bool:
        """Pin a tree and note its use; return False if it or its files are not there."""
        tree = self._trees.find(name)
        if tree is None:
            return False
        try:
            if not (self._pins / name).exists():
                os.link(tree / MARK, self._pins / name)
                os.utime(self._trees.store.roots / name, follow_symlinks=False)
        except FileNotFoundError:  # `make` removes its root
            return False
        self.pinned.add(name)
        return True

    async def _unpack(
        self, packages: list[Package], archives: Path, work: Path, installation: Installation
    ) -> Sequence[str]:
        folder = await fresh(work / "unpack")
        arguments = {
            "archives": manifest(packages),
            "architecture": installation.package_set.set.architecture,
        }
        mounts = {"/archives": archives}
        built = await self.store.build("trees.nix", arguments, mounts, folder, installation.deadline)
        return built.store_paths
