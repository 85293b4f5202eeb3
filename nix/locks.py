"""File locks, which the kernel releases when their holder ends.

Lock files are never removed: a process that waits for a removed file and one that creates it again would both
hold the lock.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

POLL_S = 0.05
"""Interval between attempts to lock: waiting in the kernel would block a thread."""


@asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold the exclusive lock of a file; wait while another process holds a lock of it."""
    async with _waited(path, fcntl.LOCK_EX):
        yield


@asynccontextmanager
async def shared(path: Path) -> AsyncIterator[None]:
    """Hold a shared lock of a file; wait while another process holds the exclusive one."""
    async with _waited(path, fcntl.LOCK_SH):
        yield


@contextmanager
def try_exclusive(path: Path) -> Iterator[bool]:
    """Hold the exclusive lock of a file, or yield False at once if another process holds a lock of it."""
    with _opened(path) as lock:
        yield _try_lock(lock, fcntl.LOCK_EX)


@contextmanager
def try_shared(path: Path) -> Iterator[bool]:
    """Hold a shared lock of a file, or yield False at once if another process holds the exclusive one."""
    with _opened(path) as lock:
        yield _try_lock(lock, fcntl.LOCK_SH)


@asynccontextmanager
async def _waited(path: Path, kind: int) -> AsyncIterator[None]:
    with _opened(path) as lock:
        while not _try_lock(lock, kind):  # noqa: ASYNC110 - no event is set by other processes
            await asyncio.sleep(POLL_S)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
