"""Waking those on the event loop who wait for news of a key, from the thread that reads them."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class KeyNotifier:
    """Events by the key whose news they wait for."""

    def __init__(self) -> None:
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def start(self) -> None:
        """To be called on the event loop that will be woken."""
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def news(self, key: str, event: asyncio.Event) -> Iterator[None]:
        """Set `event` when there is news of `key`; enter before the first look, so that none is missed."""
        self._events[key].add(event)
        try:
            yield
        finally:
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]

    def notify(self, keys: Iterable[str]) -> None:
        """There is news of `keys`; may be called from any thread."""
        if awaited := [key for key in set(keys) if key in self._events]:
            self._loop.call_soon_threadsafe(self._wake, awaited)

    def _wake(self, keys: Iterable[str]) -> None:
        for key in keys:
            for event in self._events.get(key, ()):
                event.set()
