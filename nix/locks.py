"""File locks, which end with their holder, however it ends.

Lock files are never removed: who waits for one and who makes it anew would each hold a lock of their own.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

POLL_S = 0.05
"""The kernel does not tell when a lock becomes free without blocking a thread."""


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Wait for the lock file and hold it alone."""
    async with _waited(path, fcntl.LOCK_EX):
        yield


@asynccontextmanager
async def shared(path: Path) -> AsyncIterator[None]:
    """Wait until nobody holds the lock file alone, and hold it together with others."""
    async with _waited(path, fcntl.LOCK_SH):
        yield


@contextmanager
def try_exclusive(path: Path) -> Iterator[bool]:
    """Hold the lock file alone; yields False if somebody else holds it. Never waits."""
    with _opened(path) as lock:
        yield _taken(lock, fcntl.LOCK_EX)


@contextmanager
def try_shared(path: Path) -> Iterator[bool]:
    """Hold the lock file together with others; yields False if somebody holds it alone. Never waits."""
    with _opened(path) as lock:
        yield _taken(lock, fcntl.LOCK_SH)


@asynccontextmanager
async def _waited(path: Path, kind: int) -> AsyncIterator[None]:
    with _opened(path) as lock:
        while not _taken(lock, kind):  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(POLL_S)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
