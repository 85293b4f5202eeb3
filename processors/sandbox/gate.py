"""Gate at which a program waits while its sandbox is made and the permission to run is still pending."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

MayStart = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Permit the program to start without waiting."""


@asynccontextmanager
async def gate(may_start: MayStart, allow: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    """Call `allow` as soon as `may_start` returns; yield an event that is set then."""
    opened = asyncio.Event()

    async def open_it() -> None:
        await may_start()
        opened.set()
        allow()

    opening = asyncio.create_task(open_it())
    try:
        yield opened
    finally:
        opening.cancel()
