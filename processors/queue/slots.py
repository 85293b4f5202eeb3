"""Slots, which limit how many attempts of a process run at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """A number of slots, assigned first come, first served; an exclusive attempt takes all of them."""

    def __init__(self, number: int) -> None:
        self._number = self._free = number
        self._turn = asyncio.Lock()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, *, exclusive: bool = False) -> AsyncIterator[None]:
        """Hold one slot, or all slots if `exclusive`, within the context."""
        needed = self._number if exclusive else 1
        async with self._turn, self._freed:  # first come, first served: one slot does not overtake all
            await self._freed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            async with self._freed:
                self._free += needed
                self._freed.notify_all()
