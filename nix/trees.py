"""Unpacked archives, and the bytecode of their modules: each made once for all environments of a host.

Below `cache_dir/trees`, a Nix store of its own, which all Nix stores of the host use:

    nix/                                the trees, as store paths
    nix/var/nix/gcroots/envicutor/NAME  a link to each tree; its mtime is the time of the tree's last use
    locks/NAME.lock                     exclusive while the tree of that name is made
    locks/NAME.bytes                    disk space of the tree

A tree is named by the digest of what it is made of. Environments consist of hard links to the files of trees,
and a build links a file of each tree that it needs. The link counts of its files show whether a tree is in
use.
"""

import asyncio
import hashlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from nix import locks
from nix.contents import manifest
from nix.errors import CacheError
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
BLOCK_BYTES = 512
"""Unit of `st_blocks` (stat(2))."""

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
        """Return the folder of a tree; None if it is not there."""
        try:
            return self.store.physical(os.readlink(self.store.roots / name))  # noqa: PTH115 - Path normalizes
        except FileNotFoundError:
            return None

    def size_bytes(self) -> int:
        """Return the disk space of all trees; files that environments link count here."""
        return sum(self._size_bytes(name) for name in self.names())

    async def remove_unused(self, excess_bytes: float) -> bool:
        """Remove trees that no environment uses, least recently used first, until enough is free.

        Return whether any was removed.

        Raises:
            CacheError: Nix cannot collect garbage.
        """
        async with locks.exclusive(self.removing):
            removed = await asyncio.to_thread(self._remove_roots, excess_bytes)
        if removed:
            await self.store.collect_garbage()
            log.info("removed %d unpacked archives", removed)
        return removed > 0

    def _remove_roots(self, excess_bytes: float) -> int:
        removed = 0
        for _, name in sorted((self._last_use(name), name) for name in self.names()):
            if excess_bytes <= 0:
                break
            root = self.store.roots / name
            tree = self.find(name)
            if tree and not _is_linked(tree):
                excess_bytes -= self._size_bytes(name)
                root.unlink()
                removed += 1
        return removed

    def names(self) -> list[str]:
        """Return the names of all trees."""
        return [root.name for root in self.store.roots.iterdir() if not root.name.startswith(".")]

    def _size_bytes(self, name: str) -> int:
        """Return the disk space of a tree, which is measured once and then noted beside the locks."""
        note = self._locks / f"{name}.bytes"
        with suppress(FileNotFoundError, ValueError):
            return int(note.read_text())
        tree = self.find(name)
        if tree is None:
            return 0
        size = _disk_bytes(tree)
        note.write_text(str(size))
        return size

    def keep(self, name: str, store_path: str) -> None:
        """Give a tree its name."""
        draft = self.store.roots / f".{name}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(store_path)
        draft.rename(self.store.roots / name)

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
    ) -> None:
        """Make the trees that are missing, each once for all processes of the host, and pin all of them.

        `build` gets the items of missing names and returns the store paths of their trees in the same order.
        GC roots must keep these until it is called again or the caller ends.
        """
        while missing := await self.pin(wanted):
            with ExitStack() as stack:
                held = [
                    name
                    for name in missing[:MOST_AT_ONCE]
                    if stack.enter_context(locks.try_exclusive(self._trees.lock(name)))
                ]
                # Another process may have made some before the lock was held.
                if mine := await self.pin(held):
                    store_paths = await build([wanted[name] for name in mine])
                    for name, store_path in zip(mine, store_paths, strict=True):
                        os.link(self.store.physical(store_path) / MARK, self._pins / name)
                        self._trees.keep(name, store_path)
            if not held:
                async with locks.exclusive(self._trees.lock(missing[0])):
                    pass  # another process makes it

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
            async with installation.build():
                installation.progress(Step("unpacking", done, total))
                store_paths = await self._unpack(packages, archives, work, installation)
            done += len(packages)
            installation.progress(Step("unpacking", done, total))
            return store_paths

        async for packages in arriving:
            # The largest first, so that no core waits for the last one.
            ordered = sorted(packages, key=lambda package: -package.archive_bytes)
            await self.make({archive_tree(package): package for package in ordered}, build)

    def _pin(self, name: str) -> bool:
        """Pin a tree and note its use; return False if it is not there."""
        tree = self._trees.find(name)
        if tree and not (self._pins / name).exists():
            os.utime(self._trees.store.roots / name, follow_symlinks=False)
            os.link(tree / MARK, self._pins / name)
        return tree is not None

    async def _unpack(
        self, packages: list[Package], archives: Path, work: Path, installation: Installation
    ) -> Sequence[str]:
        folder = fresh(work / "unpack")
        arguments = {
            "archives": manifest(packages),
            "architecture": installation.package_set.set.architecture,
        }
        mounts = {"/archives": archives}
        built = await self.store.build("trees.nix", arguments, mounts, folder, installation.deadline)
        return built.store_paths


def fresh(folder: Path) -> Path:
    """Return the folder, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _is_linked(tree: Path) -> bool:
    """Return whether an environment has hard links to files of a tree."""
    for folder, _, names in os.walk(tree):
        for name in names:
            if os.lstat(os.path.join(folder, name)).st_nlink > 1:  # noqa: PTH118 - ten thousand times
                return True
    return False


def _disk_bytes(tree: Path) -> int:
    total = 0
    for folder, folders, names in os.walk(tree):
        for name in (*folders, *names):
            total += os.lstat(os.path.join(folder, name)).st_blocks * BLOCK_BYTES  # noqa: PTH118
    return total
