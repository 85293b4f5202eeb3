"""The time that one installation may take, over all of its steps."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from nix.errors import LimitError
from nix.store import BuildLimits


class Deadline:
    """What is left of the time for one installation."""

    def __init__(self, limits: BuildLimits) -> None:
        self.given = limits
        """The limits as they were asked for; the time is that of all steps."""
        self._end = time.monotonic() + limits.wall_time_s

    def limits(self) -> BuildLimits:
        """Return the limits of the next step. One that has no time left says so itself."""
        return replace(self.given, wall_time_s=self.left_s())

    def left_s(self) -> float:
        """Return the time that is left, a moment where there is none."""
        return max(self._end - time.monotonic(), 0.001)

    @asynccontextmanager
    async def step(self, doing: str) -> AsyncIterator[None]:
        """Bound a step that knows no limits. Raises LimitError when time is over."""
        try:
            async with asyncio.timeout(self.left_s()):
                yield
        except TimeoutError as error:
            raise LimitError(f"{doing} hit the limit wall_time_s = {self.given.wall_time_s:g}") from error

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let a step of ours, not of theirs, take no time."""
        started = time.monotonic()
        yield
        self._end += time.monotonic() - started
