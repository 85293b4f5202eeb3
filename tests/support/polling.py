"""Waiting for what other processes and threads do."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 120.0
"""Many times what anything takes that tests wait for, on a busy machine too."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 0.1
"""The pause between two probes grows: some read topics or all of /proc, and cost other tests their CPU."""


def eventually(
    probe: Callable[[], Any],
    what: str,
    timeout_s: float = DEADLINE_S,
    *,
    enough: Callable[[Any], object] = bool,
) -> Any:
    """Return the first value of `probe` that is `enough`.

    Raises:
        AssertionError: there was none within `timeout_s`; the message says `what` was expected, and what the
            last value was.
    """
    deadline, pause_s = time.monotonic() + timeout_s, _FIRST_PAUSE_S
    while not enough(value := probe()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}; the last value: {value!r}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_PAUSE_S)
    return value


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; the event loop goes on meanwhile.

    Raises:
        TimeoutError: it did not hold within `DEADLINE_S`.
    """
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - no event is set for it
            await asyncio.sleep(_FIRST_PAUSE_S)


def at_least(count: int) -> Callable[[Any], bool]:
    """Return a test, for `eventually`, of whether a value has as many items."""
    return lambda value: len(value) >= count
