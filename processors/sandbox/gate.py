"""A sandbox is made while it is still to be seen whether its program may run: the program waits at a gate."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

MayStart = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Nothing is waited for."""


@dataclass(slots=True)
class Gate:
    """What the launcher reads before it executes the program; without an answer it executes nothing."""

    descriptor: int
    opened: bool = False


@asynccontextmanager
async def gate(may_start: MayStart) -> AsyncIterator[Gate]:
    """Make one that opens as soon as `may_start` returns."""
    descriptor, ours = os.pipe2(os.O_CLOEXEC)
    made = Gate(descriptor)

    async def open_it() -> None:
        await may_start()
        os.write(ours, b"\n")
        made.opened = True

    opening = asyncio.create_task(open_it())
    try:
        yield made
    finally:
        opening.cancel()
        os.close(descriptor)
        os.close(ours)
