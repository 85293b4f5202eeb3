"""Eviction from the Cache: the least recently used environments first, never one in use."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from nix import disk_usage, locks
from nix.environments import Environments
from nix.nix_store import NixStore
from nix.trees import Trees

log = logging.getLogger(__name__)

Announce = Callable[[str], Awaitable[bool]]
"""Announces an eviction to all hosts and returns when it is safe; False if the environment must stay."""

ROOM = 0.9
"""Eviction continues down to this part of the limit, so that not every build has to evict."""
JUST_USED_S = 5.0
"""An environment is not evicted for this long after its last use, until its worker holds it."""


class Eviction:
    """Keeps one Nix store within a limit; a lock admits one process of the host at a time."""

    def __init__(self, store: NixStore, environments: Environments, trees: Trees, limit_bytes: int) -> None:
        self._store, self._environments, self._trees = store, environments, trees
        self._limit_bytes = limit_bytes
        self._lock = store.root / "locks/eviction.lock"

    async def make_room(self, needed_bytes: int, announce: Announce) -> None:
        """Evict until the store has room for `needed_bytes` more, or all environments left are in use.

        Raises:
            CacheError: Nix cannot collect garbage.
        """
        if await asyncio.to_thread(self._most_bytes) + needed_bytes <= self._limit_bytes:
            return  # without a look at each file of the trees
        if await self._excess_bytes(needed_bytes) <= 0:
            return
        async with locks.exclusive(self._lock):
            await self._collect(needed_bytes)  # before environments: remains of builds, and unused trees
            excess = await self._excess_bytes(needed_bytes)
            while excess > 0:
                if not await self._evict_some(needed_bytes, announce):
                    log.warning("the cache is over its limit, and all environments are in use")
                    return
                await self._collect(needed_bytes)
                before, excess = excess, await self._excess_bytes(needed_bytes)
                if excess >= before:
                    log.warning("the cache is over its limit, and an eviction freed nothing")
                    return

    async def _collect(self, needed_bytes: int) -> None:
        """Delete what no environment needs: store paths, then as many trees as necessary."""
        await self._store.collect_garbage()
        await self._trees.remove_unused(await self._excess_bytes(needed_bytes, self._limit_bytes * ROOM))

    async def evict(self, store_path: str, announce: Announce) -> bool:
        """Evict an environment; return False if it is absent, in use, or refused by `announce`.

        The announcement comes first. If the process is killed after it, the environment counts as evicted but
        is still installed; the next build of its key finds it.
        """
        with self._environments.going(store_path) as locked:
            if not locked or not await announce(store_path):
                return False
            await asyncio.to_thread(self._environments.remove, store_path)
        log.info("evicted %s", store_path)
        return True

    async def _evict_some(self, needed_bytes: int, announce: Announce) -> bool:
        """Evict environments until their own files free enough; return whether one was evicted."""
        wanted = await self._excess_bytes(needed_bytes, self._limit_bytes * ROOM)
        freed, evicted = 0, False
        for used_at, store_path in self._environments.used_longest_ago_first():
            if freed >= wanted or used_at > time.time() - JUST_USED_S:
                break
            own_bytes = await asyncio.to_thread(_own_bytes, self._store.physical(store_path))
            if await self.evict(store_path, announce):
                freed, evicted = freed + own_bytes, True
        return evicted

    def used_bytes(self) -> int:
        """Return the disk usage in bytes of environments, of their trees, and of trees that are not in use.

        Trees that only other Nix stores of the host use do not count: their removal is up to those. Blocks
        for the time of many `stat`s.
        """
        recorded = self._environments.recorded()
        trees = {name for environment in recorded for name in environment.trees}
        own_bytes = sum(environment.own_bytes for environment in recorded)
        return disk_bytes(self._store) + own_bytes + self._trees.used_bytes(trees)

    def _most_bytes(self) -> int:
        """Return `used_bytes`, or more if other Nix stores use trees."""
        own_bytes = sum(environment.own_bytes for environment in self._environments.recorded())
        return disk_bytes(self._store) + own_bytes + self._trees.size_bytes()

    async def _excess_bytes(self, needed_bytes: int, limit_bytes: float | None = None) -> float:
        used = await asyncio.to_thread(self.used_bytes)
        return used + needed_bytes - (self._limit_bytes if limit_bytes is None else limit_bytes)


def disk_bytes(store: NixStore) -> int:
    """Return the disk usage of the files that Nix built or fetched in bytes; shared files are counted once.

    Nix links each of them into one folder. Folders of fetched environments, about 1 %, are not counted.
    """
    total = 0
    with suppress(FileNotFoundError), os.scandir(store.root / "nix/store/.links") as files:
        for file in files:
            with suppress(FileNotFoundError):  # another process collects garbage
                total += disk_usage.allocated_bytes(file.stat(follow_symlinks=False))
    return total


def _own_bytes(tree: Path) -> int:
    """Return the bytes of what no other environment has.

    A file has its names in the environment, and besides as many in a tree, or one that Nix gave it.
    """
    return sum(inode.size_bytes for inode in disk_usage.inodes(tree) if inode.links <= 2 * inode.names)
