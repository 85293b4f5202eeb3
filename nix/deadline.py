"""The time that one installation may take, over all of its steps."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from nix.errors import LimitError
from nix.runner import BuildLimits


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
        """Bound the wall time of a step that has no limits of its own.

        Raises:
            LimitError: the step took longer than the remaining time.
        """
        try:
            async with asyncio.timeout(self.left_s()):
                yield
        except TimeoutError as error:
            raise LimitError(f"{doing} hit the limit wall_time_s = {self.given.wall_time_s:g}") from error

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Exclude the body from the installation's time, such as waiting for a lock."""
        started = time.monotonic()
        yield
        self._end += time.monotonic() - started
