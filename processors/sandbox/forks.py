"""Forks of one box that are used one after the other, made and removed while programs run.

An optimisation: `Box.fork` alone does the same, but programs then wait for its copy.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import NamedTuple

from processors.sandbox.boxes import Box
from processors.sandbox.stage import shielded
from topics.request.limits import RunLimits


class _Fork(NamedTuple):
    box: Box
    life: AsyncExitStack
    """Closed to remove the box."""


class Forks:
    """Forks of a box. At most two exist: the one in use, and the next, or the one before."""

    def __init__(self, original: Box, limits: RunLimits) -> None:
        """Prepare forks of `original`; what is added to each is bounded by `limits`."""
        self._original, self._limits = original, limits
        self._life = AsyncExitStack()
        """Life of the fork in use."""
        self._background: asyncio.Task[_Fork | None] | None = None

    async def take(self, *, another: bool) -> Box:
        """Return a fork, and remove the one before; with `another` make the next one in the background.

        Raises:
            SandboxError: a box could not be made or removed.
        """
        fork = await self._finish() or await self._make_first()
        self._replace(fork.life, another=another)
        return fork.box

    async def retire(self) -> None:
        """Remove the fork in use in the background, so that a program may run in the original.

        Raises:
            SandboxError: the fork before could not be removed.
        """
        await self._finish()
        self._replace(AsyncExitStack(), another=False)

    async def close(self) -> None:
        """Remove all forks.

        Raises:
            SandboxError: a box could not be made or removed.
        """
        await shielded(self._close())

    async def _close(self) -> None:
        try:
            if next_fork := await self._finish():
                await next_fork.life.aclose()
        finally:
            await self._life.aclose()

    async def _make_first(self) -> _Fork:
        self._background = asyncio.create_task(self._renew(AsyncExitStack(), another=True))
        fork = await self._finish()
        assert fork
        return fork

    async def _finish(self) -> _Fork | None:
        """Wait for the background work; if this is cancelled, `close` waits for it."""
        if self._background is None:
            return None
        await asyncio.wait({self._background})
        finished, self._background = self._background, None
        return finished.result()

    def _replace(self, life: AsyncExitStack, *, another: bool) -> None:
        used, self._life = self._life, life
        self._background = asyncio.create_task(self._renew(used, another=another))

    async def _renew(self, used: AsyncExitStack, *, another: bool) -> _Fork | None:
        await used.aclose()
        if not another:
            return None
        life = AsyncExitStack()
        return _Fork(await life.enter_async_context(self._original.fork(self._limits)), life)
