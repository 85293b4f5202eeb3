"""How much runs at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """A number of places, given out first come, first served; work that runs alone takes them all."""

    def __init__(self, number: int) -> None:
        self._number = self._free = number
        self._turn = asyncio.Lock()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, *, alone: bool = False) -> AsyncIterator[None]:
        """Hold one place, or every place, within the context."""
        needed = self._number if alone else 1
        async with self._turn, self._freed:  # whoever is first in turn is not overtaken by smaller needs
            await self._freed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            async with self._freed:
                self._free += needed
                self._freed.notify_all()
