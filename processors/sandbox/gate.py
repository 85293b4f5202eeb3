"""Gate at which a program waits while its sandbox is made and the permission to run is still pending."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

MayStart = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Permit the program to start without waiting."""


@dataclass(slots=True)
class Gate:
    """Pipe from which the launcher reads one byte before it executes the program.

    If the pipe is closed without a byte, the launcher exits and does not execute the program.
    """

    descriptor: int
    opened: bool = False


@asynccontextmanager
async def gate(may_start: MayStart) -> AsyncIterator[Gate]:
    """Yield a gate that opens as soon as `may_start` returns."""
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
