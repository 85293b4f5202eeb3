"""Between generators, which the simulator's parts of Kafka are, and coroutines, which the shells are."""

import asyncio
from typing import Any

from tests.simulator.scheduler import Future, Wait
from tests.simulator.virtual.loop import VirtualLoop


async def run(loop: VirtualLoop, generator: Wait) -> Any:
    """Return what a generator returns, which waits on the loop instead of in a task of the scheduler."""
    value, error = None, None
    while True:
        try:
            wait = generator.send(value) if error is None else generator.throw(error)
        except StopIteration as stop:
            return stop.value
        value = error = None
        if not isinstance(wait, Future):
            await asyncio.sleep(wait)
            continue
        try:
            value = await loop.answer(wait)
        except Exception as raised:
            error = raised
