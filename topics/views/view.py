"""A compacted topic as a local table, so that a look-up needs no network and a restart resumes."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from confluent_kafka import Message

from topics.kafka.end_offsets import EndOffsets
from topics.kafka.records import position
from topics.kafka.tail import Tail, TailConsumer
from topics.settings import KafkaSettings
from topics.views.key_notifier import KeyNotifier
from topics.views.resuming import resuming
from topics.views.table import RowChange, Table

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
        in_batches: bool = False,
        consumer: TailConsumer | None = None,
    ) -> None:
        """Prepare a view; `start` begins to read.

        `with_status` counts the rows to which `status_of` gives a status. `in_batches` and `consumer` are
        those of `Tail`.
        """
        self._table, self._status_of = Table(directory), status_of
        kind = "/labelled" if status_of else ""
        start_at = resuming(self._table, settings, topic, kind, _STALE_AFTER_S)
        self._tail = Tail(
            settings, topic, self._take, start_at=start_at, in_batches=in_batches, consumer=consumer
        )
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

    async def wait_for_end(self) -> None:
        """Wait until everything has been read that was on the topic at this call."""
        await self._tail.wait_read_to(await self._end_offsets.ask())

    @property
    def with_status(self) -> int:
        """Number of rows to which `status_of` gives a status."""
        return len(self._table.statuses)

    def status(self, key: str) -> str | None:
        """Return the status that `status_of` gave to the row of `key`, or None; it is in memory."""
        status = self._table.statuses.get(key.encode())
        return status.decode() if status is not None else None

    def count(self, status: str) -> int:
        """Return the number of rows to which `status_of` gives this status."""
        return self._table.counts[status.encode()]

    def counts(self) -> Mapping[str, int]:
        """Return the number of rows by the status that `status_of` gives them; some numbers may be 0."""
        return {status.decode(): number for status, number in dict(self._table.counts).items()}

    def get(self, key: str) -> bytes | None:
        """Return the latest value of `key`, or None if there is none (yet)."""
        return self._table.get(key.encode())

    def values(self) -> Iterator[tuple[str, bytes]]:
        """Yield key and value of every row, in the order of keys."""
        return ((key.decode(), value) for key, value in self._table.rows())

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
        changes = [self._change(message) for message in messages]
        self._table.write(changes, next_offsets(messages))
        self._notifier.notify(change.key.decode(errors="replace") for change in changes)

    def _change(self, message: Message) -> RowChange:
        key, value = _bytes(message.key()) or b"", _bytes(message.value())
        status = self._status_of(value) if self._status_of is not None and value is not None else None
        return RowChange(key, value, None if status is None else status.encode())


def next_offsets(messages: Iterable[Message], prefix: str = "") -> dict[str, int]:
    """Return the offsets after these records, as a table keeps them; their names begin with `prefix`."""
    return {f"{prefix}{partition}": offset + 1 for partition, offset in map(position, messages)}


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw
