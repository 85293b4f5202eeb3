"""Notification of tasks on the event loop that wait for a key, from the thread that reads its records."""

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager


class KeyNotifier:
    """Events of waiting tasks, by key."""

    def __init__(self) -> None:
        self._events: defaultdict[Hashable, set[asyncio.Event]] = defaultdict(set)

    def start(self) -> None:
        """Remember the running event loop, on which events will be set."""
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def subscribe(self, key: Hashable, event: asyncio.Event) -> Iterator[None]:
        """Set `event` at each change of `key`; enter before the first query, so that no change is missed."""
        self._events[key].add(event)
        try:
            yield
        finally:
            self._events[key].discard(event)
            if not self._events[key]:
                del self._events[key]

    def notify(self, keys: Iterable[Hashable]) -> None:
        """Set the events of `keys`, from any thread."""
        if awaited := [key for key in set(keys) if key in self._events]:
            self._loop.call_soon_threadsafe(self._wake, awaited)

    def _wake(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            for event in self._events.get(key, ()):
                event.set()
