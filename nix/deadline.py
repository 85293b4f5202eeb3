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
        self._limits = limits
        self._end = time.monotonic() + limits.wall_time_s

    def limits(self) -> BuildLimits:
        """Return the limits of the next step. One that has no time left says so itself."""
        return replace(self._limits, wall_time_s=max(self._end - time.monotonic(), 0.001))

    @asynccontextmanager
    async def step(self, doing: str) -> AsyncIterator[None]:
        """Bound a step that knows no limits. Raises LimitError when time is over."""
        try:
            async with asyncio.timeout(self.limits().wall_time_s):
                yield
        except TimeoutError as error:
            raise LimitError(f"{doing} hit the limit wall_time_s = {self._limits.wall_time_s:g}") from error

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let a step of ours, not of theirs, take no time."""
        started = time.monotonic()
        yield
        self._end += time.monotonic() - started
