"""Gate at which a program waits while its sandbox is made and the permission to run is still pending."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

MayStart = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Permit the program to start without waiting."""


@dataclass(slots=True)
class Gate:
    """Permission to run, which a program may be waiting for."""

    opened: bool = False


@asynccontextmanager
async def gate(may_start: MayStart, allow: Callable[[], None]) -> AsyncIterator[Gate]:
    """Yield a gate that calls `allow` and opens as soon as `may_start` returns."""
    made = Gate()

    async def open_it() -> None:
        await may_start()
        made.opened = True
        allow()

    opening = asyncio.create_task(open_it())
    try:
        yield made
    finally:
        opening.cancel()
