"""A compacted topic as a local table, so that a look-up needs no network and a restart resumes."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from confluent_kafka import Message

from topics.kafka.end_offsets import EndOffsets
from topics.kafka.records import position
from topics.kafka.tail import Tail
from topics.settings import KafkaSettings
from topics.views.key_notifier import KeyNotifier
from topics.views.resuming import resuming
from topics.views.table import RowChange, Table, TableIndex

_STALE_AFTER_S = 12 * 3600.0
"""Age from which a table is recreated: half of Kafka's default `delete.retention.ms`, as an older table could
have missed a tombstone."""


class View:
    """Read model of one compacted topic: a thread reads it into a local table, which answers queries.

    No other instance uses the directory. `get` may be called from any thread, the `async`
    methods from the event loop that `start` was called on.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        directory: Path,
        *,
        status_of: Callable[[bytes], str | None] | None = None,
        index: TableIndex | None = None,
        on_applied: Callable[[list[Message]], None] = lambda _: None,
        in_batches: bool = False,
    ) -> None:
        """Prepare a view; `start` begins to read.

        `with_status` counts the rows to which `status_of` gives a status; `in_batches` is that of `Tail`. The
        reader's thread calls `on_applied` with records that are in the table.
        """
        self._on_applied = on_applied
        self._table = Table(directory, status_of, index=index)
        start_at = resuming(self._table, settings, topic, _STALE_AFTER_S)
        self._tail = Tail(settings, topic, self._take, start_at=start_at, in_batches=in_batches)
        self._notifier = KeyNotifier()
        self._end_offsets = EndOffsets(settings, topic)

    async def start(self) -> None:
        """Open the table and read on from its offsets."""
        self._notifier.start()
        await self._tail.start()

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topic at the start has been read."""
        return self._tail.caught_up

    async def wait_caught_up(self) -> None:
        """Wait until everything that was on the topic at the start has been read."""
        await self._tail.wait_caught_up()

    @property
    def with_status(self) -> int:
        """Number of rows to which `status_of` gives a status."""
        return len(self._table.statuses)

    def count(self, status: str) -> int:
        """Return the number of rows to which `status_of` gives this status."""
        return self._table.counts[status.encode()]

    def get(self, key: str) -> bytes | None:
        """Return the latest value of `key`, or None if there is none (yet)."""
        return self._table.get(key.encode())

    def values(self) -> Iterator[tuple[str, bytes]]:
        """Yield key and value of every row, in the order of keys."""
        return ((key.decode(), value) for key, value in self._table.rows())

    def summary(self, key: str) -> bytes | None:
        """Return the summary of a row of a view with an index, or None if there is none."""
        return self._table.summary(key.encode())

    def indexed(self, prefix: bytes, before: bytes | None = None) -> Iterator[bytes]:
        """Yield the index's keys in descending order, as `Table.indexed` does."""
        return self._table.indexed(prefix, before)

    async def wait_for(
        self, key: str, accept: Callable[[bytes | None], bool], timeout_s: float | None
    ) -> bytes | None:
        """Wait until `accept` returns True for the value of `key`, and return the value.

        Raises:
            TimeoutError: `accept` accepted no value within `timeout_s`.
        """
        changed = asyncio.Event()
        with self.subscribe(key, changed):
            async with asyncio.timeout(timeout_s):
                while not accept(value := self.get(key)):
                    await changed.wait()
                    changed.clear()
                return value

    def subscribe(self, key: str, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set `event` at each change of `key`, as `KeyNotifier.subscribe` does."""
        return self._notifier.subscribe(key, event)

    async def lag(self) -> int:
        """Return the number of records that have not been read yet; ask until the broker answers."""
        return self._tail.behind(await self._end_offsets.ask())

    async def close(self) -> None:
        """Stop reading and close the table."""
        if await self._tail.close():  # else its thread may still use the table
            self._table.close()

    # -- the reader's thread ---------------------------------------------------------------------

    def _take(self, messages: list[Message]) -> None:
        changes = [_change(message) for message in messages]
        self._table.write(changes)
        self._on_applied(messages)
        self._notifier.notify(change.key.decode(errors="replace") for change in changes)


def _change(message: Message) -> RowChange:
    key, value = message.key(), message.value()
    return RowChange(*position(message), _bytes(key) or b"", _bytes(value))


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw
