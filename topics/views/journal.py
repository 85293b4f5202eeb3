"""A topic's records by key, in a local table: the records of one key are read without all others.

A node that shows histories keeps a journal of `submissions.events`. It needs as much disk as the topic. A
history is then a range of neighbouring rows, which survives restarts and needs no broker.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

from topics.kafka.codec import DecodeError, decode_key, header
from topics.kafka.end_offsets import EndOffsets
from topics.kafka.records import position
from topics.kafka.tail import Tail
from topics.settings import KafkaSettings
from topics.views.key_notifier import KeyNotifier
from topics.views.resuming import ANSWER_S, resuming
from topics.views.table import RowChange, Table

_END = b"\n"


class JournalEntry(NamedTuple):
    """A record of the topic, as the journal keeps it."""

    offset: int
    """Offset in the key's partition; all records of a key are on one partition, so it orders them."""
    time_ms: int
    """Append time: Unix time in milliseconds."""
    type: str
    """CloudEvents type; empty if the record has none."""
    value: bytes


class Journal:
    """Read model of all records of one topic, which a thread reads. No other instance uses the directory."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        directory: Path,
        *,
        kept_s: int | None = None,
        on_applied: Callable[[list[Message]], None] = lambda _: None,
    ) -> None:
        """Prepare a journal; `start` begins to read.

        Records are kept for `kept_s` or a bit longer. The reader's thread calls `on_applied` with records
        that are in the table.
        """
        self._table = Table(directory, kept_s=kept_s)
        self._topic, self._resume = topic, resuming(self._table, settings, topic)
        self._complete = False
        self._tail = Tail(settings, topic, self._take, start_at=self._start_at)
        self._on_applied = on_applied
        self._end_offsets = EndOffsets(settings, topic)
        self._notifier = KeyNotifier()

    async def start(self) -> None:
        """Open the table and read on from its offsets."""
        self._notifier.start()
        await self._tail.start()

    async def close(self) -> None:
        """Stop reading and close the table."""
        if await self._tail.close():  # else its thread may still use the table
            self._table.close()

    @property
    def caught_up(self) -> bool:
        """Whether everything that was on the topic at the start has been read."""
        return self._tail.caught_up

    async def wait_caught_up(self) -> None:
        """Wait until everything that was on the topic at the start has been read."""
        await self._tail.wait_caught_up()

    @property
    def complete(self) -> bool:
        """Whether the journal has all records ever appended, up to some offset of each partition."""
        return self._complete

    async def reach(self, timeout_s: float) -> None:
        """Read up to the topic's present end, so that all records acknowledged before this call are here.

        Raises:
            TimeoutError: the broker did not answer, or reading took longer than `timeout_s`.
        """
        async with asyncio.timeout(timeout_s):
            await self._tail.wait_read_to(await self._end_offsets.ask())

    async def lag(self) -> int:
        """Return the number of records that have not been read yet; ask until the broker answers."""
        return self._tail.behind(await self._end_offsets.ask())

    def since(self, key: str, offset: int) -> Iterator[JournalEntry]:
        """Yield the records of `key` from this offset on, in order."""
        for at, row in self._table.rows(_prefix(key), _offset(offset)):
            head, _, value = row.partition(_END)
            time_ms, _, type = head.decode().partition(" ")
            yield JournalEntry(int.from_bytes(at), int(time_ms), type, value)

    def subscribe(self, key: str, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set `event` at each change of `key`, as `KeyNotifier.subscribe` does."""
        return self._notifier.subscribe(key, event)

    # -- the reader's thread ---------------------------------------------------------------------

    def _start_at(self, consumer: Consumer, partitions: set[int]) -> Mapping[int, int]:
        offsets = self._resume(consumer, partitions)
        first = (
            consumer.get_watermark_offsets(TopicPartition(self._topic, p), timeout=ANSWER_S)[0]
            for p in partitions
        )
        self._complete = not any(first)  # nothing was deleted, neither now nor before
        return offsets

    def _take(self, messages: list[Message]) -> None:
        changed: set[str] = set()
        changes = []
        for message in messages:
            try:
                key = decode_key(message)
            except DecodeError:
                continue  # no query can ask for it
            changed.add(key)
            changes.append(_change(key, message))
        self._table.write(changes)
        self._on_applied(messages)
        self._notifier.notify(changed)


def _change(key: str, message: Message) -> RowChange:
    at, value = position(message), message.value() or b""
    head = f"{message.timestamp()[1]} {header(message, 'ce_type') or ''}".replace("\n", " ").encode()
    row = head + _END + (value.encode() if isinstance(value, str) else value)
    return RowChange(*at, _prefix(key) + _offset(at.offset), row)


def _prefix(key: str) -> bytes:
    return key.encode() + b"\0"


def _offset(offset: int) -> bytes:
    return offset.to_bytes(8)
