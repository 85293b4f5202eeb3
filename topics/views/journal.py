"""A topic's records by key, in a local table: what was said about one key, without reading all others.

A node that shows histories keeps one of `submissions.events`. That costs the disk of the topic again, and
makes a history a range of neighbouring rows, which is there after a restart and needs no broker.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

from topics.kafka.codec import DecodeError, decode_key, header
from topics.kafka.end_offsets import EndOffsets
from topics.kafka.tail import Tail
from topics.settings import KafkaSettings
from topics.views.key_notifier import KeyNotifier
from topics.views.resuming import ANSWER_S, resuming
from topics.views.table import Table, TableChange

_END = b"\n"


class JournalEntry(NamedTuple):
    """A record."""

    offset: int
    """All records of a key are on one partition, so it orders them."""
    time_ms: int
    """Append time."""
    type: str
    """Its CloudEvents type; empty where it has none."""
    value: bytes


class Journal:
    """Reads one topic in a thread of its own. The directory belongs to this instance alone."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        directory: Path,
        *,
        kept_s: int | None = None,
        taken: Callable[[list[Message]], None] = lambda _: None,
    ) -> None:
        """Records are kept for `kept_s` or a bit longer; `taken` is told of them in the reader's thread."""
        self._table = Table(directory, kept_s=kept_s)
        self._topic, self._resume = topic, resuming(self._table, settings, topic)
        self._complete = False
        self._tail = Tail(settings, topic, self._take, start_at=self._start_at)
        self._taken = taken
        self._end_offsets = EndOffsets(settings, topic)
        self._notifier = KeyNotifier()

    async def start(self) -> None:
        """Open the table and go on reading where it stands."""
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
        """Wait for `caught_up`."""
        await self._tail.wait_caught_up()

    @property
    def complete(self) -> bool:
        """Whether it has all records that were ever appended, up to some offset of each partition."""
        return self._complete

    async def reach(self, timeout_s: float) -> None:
        """Read up to where the topic ends now, so that whatever was acknowledged before this call is here.

        Raises:
            TimeoutError: the broker did not say where, or it took too long to read.
        """
        async with asyncio.timeout(timeout_s):
            await self._tail.wait_read_to(await self._end_offsets.ask())

    async def lag(self) -> int:
        """How many records there are that are not here yet; asks until the broker answers."""
        return self._tail.behind(await self._end_offsets.ask())

    def since(self, key: str, offset: int) -> Iterator[JournalEntry]:
        """What was said about `key` at this offset and after it, in order."""
        for at, row in self._table.rows(_prefix(key), _offset(offset)):
            head, _, value = row.partition(_END)
            time_ms, _, type = head.decode().partition(" ")
            yield JournalEntry(int.from_bytes(at), int(time_ms), type, value)

    def news(self, key: str, event: asyncio.Event) -> AbstractContextManager[None]:
        """See `KeyNotifier.news`."""
        return self._notifier.news(key, event)

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
        told: set[str] = set()
        changes = []
        for message in messages:
            try:
                key = decode_key(message)
            except DecodeError:
                continue  # nobody can ask for it
            told.add(key)
            changes.append(_change(key, message))
        self._table.write(changes)
        self._taken(messages)
        self._notifier.notify(told)


def _change(key: str, message: Message) -> TableChange:
    offset, value = message.offset() or 0, message.value() or b""
    head = f"{message.timestamp()[1]} {header(message, 'ce_type') or ''}".replace("\n", " ").encode()
    row = head + _END + (value.encode() if isinstance(value, str) else value)
    return TableChange(message.partition() or 0, offset, _prefix(key) + _offset(offset), row)


def _prefix(key: str) -> bytes:
    return key.encode() + b"\0"


def _offset(offset: int) -> bytes:
    return offset.to_bytes(8)
