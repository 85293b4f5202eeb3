"""The time that one installation may take, over all of its steps."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TypeVar

from nix.errors import LimitError
from nix.runner import BuildLimits

ItemT = TypeVar("ItemT")


class Deadline:
    """The remaining wall time of one installation."""

    def __init__(self, limits: BuildLimits) -> None:
        self.given = limits
        """The requested limits; `wall_time_s` is for all steps together."""
        self._end = time.monotonic() + limits.wall_time_s

    def limits(self) -> BuildLimits:
        """Return the limits of the next step; a step without remaining time hits its own limit."""
        return replace(self.given, wall_time_s=self.left_s())

    def left_s(self) -> float:
        """Return the remaining seconds, at least 0.001."""
        return max(self._end - time.monotonic(), 0.001)

    @asynccontextmanager
    async def step(self, doing: str) -> AsyncIterator[None]:
        """Bound the wall time of a step without limits of its own; within it `stopped` must not be used.

        Raises:
            LimitError: the step took longer than the remaining time.
        """
        try:
            async with asyncio.timeout(self.left_s()) as bound:
                yield
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise LimitError(f"{doing} hit the limit wall_time_s = {self.given.wall_time_s:g}") from error

    async def arrivals(self, doing: str, items: AsyncIterator[ItemT]) -> AsyncGenerator[ItemT, None]:
        """Yield the items, and bound the wait for each by the remaining time; what is done between is not.

        Raises:
            LimitError: an item did not arrive within the remaining time.
        """
        while True:
            async with self.step(doing):
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Exclude the body from the installation's time, such as waiting for a lock."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._end += time.monotonic() - started
