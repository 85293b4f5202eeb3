"""Facts of progress that are published together with the end of a short attempt.

An optimisation: each published fact costs every consumer of the topic. Without this module each fact would be
published at once. See `docs/performance.md`.
"""

import asyncio
from collections.abc import Callable

from topics.fold import ProgressFact

PROGRESS_DELAY_S = 0.05
"""Time for which facts of a first attempt are buffered; clients see it in the queue meanwhile."""


class ProgressBuffer:
    """Facts of one attempt, which are passed on at once unless `hold` was called."""

    def __init__(self, publish: Callable[..., object]) -> None:
        """`publish` takes the facts that are due."""
        self._publish = publish
        self._held: list[tuple[ProgressFact, float]] | None = None
        """Facts with their times; None once each fact is published at once."""
        self._timer: asyncio.TimerHandle | None = None

    def hold(self) -> None:
        """Buffer facts for `PROGRESS_DELAY_S`, or until `flush`, `take` or `discard`."""
        self._held = []
        self._timer = asyncio.get_running_loop().call_later(PROGRESS_DELAY_S, self.flush)

    def add(self, fact: ProgressFact) -> None:
        """Publish a fact, or buffer it."""
        if self._held is None:
            self._publish(fact)
        else:
            self._held.append((fact, asyncio.get_running_loop().time()))

    def flush(self) -> None:
        """Publish the buffered facts, and from now on each fact at once."""
        if facts := self.take():
            self._publish(*facts)

    def take(self) -> list[ProgressFact]:
        """Return the buffered facts, each with its age; from now on publish each fact at once."""
        held, self._held = self._held or [], None
        if self._timer:
            self._timer.cancel()
        now_s = asyncio.get_running_loop().time()
        return [fact.replace(ago_s=round(now_s - since_s, 6)) for fact, since_s in held]

    def discard(self) -> None:
        """Drop the buffered facts, since their attempt has no end."""
        self.take()
