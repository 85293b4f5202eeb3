"""A topic's records by key, in a local table: the records of one key are read without all others.

A history is then a range of neighbouring rows, which survives restarts and needs no broker. It takes as much
disk as the topic. A node that shows live output keeps a journal of `submissions.output`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Self

from confluent_kafka import Message

from topics.kafka.codec import DecodeError, decode_key, header
from topics.kafka.records import position
from topics.kafka.tail import Tail, TailConsumer
from topics.settings import KafkaSettings
from topics.views.key_notifier import KeyNotifier
from topics.views.resuming import resuming
from topics.views.table import Table
from topics.views.view import next_offsets

_ENTRY, _END = b"\xff", b"\n"


class JournalEntry(NamedTuple):
    """A record of the topic, as the journal keeps it."""

    offset: int
    """Offset in the key's partition; all records of a key are on one partition, so it orders them."""
    time_ms: int
    """Append time: Unix time in milliseconds."""
    type: str
    """CloudEvents type; empty if the record has none."""
    value: bytes

    @classmethod
    def of(cls, message: Message) -> Self:
        """Return the entry of a record."""
        ce_type = (header(message, "ce_type") or "").replace("\n", " ")
        value = message.value() or b""
        raw = value.encode() if isinstance(value, str) else value
        return cls(position(message).offset, message.timestamp()[1], ce_type, raw)

    def row(self, key: str) -> tuple[bytes, bytes]:
        """Return key and value of the row that keeps this entry; no UTF-8 text is the key of such a row."""
        head = f"{self.time_ms} {self.type}".encode()
        return _prefix(key) + self.offset.to_bytes(8), head + _END + self.value


class Journal:
    """Read model of all records of one topic, which a thread reads. No other instance uses the directory."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        directory: Path,
        *,
        kept_s: int | None = None,
        consumer: TailConsumer | None = None,
    ) -> None:
        """Prepare a journal; `start` begins to read.

        Records are kept for `kept_s` or a bit longer. `consumer` is that of `Tail`.
        """
        self._table = Table(directory, kept_s=kept_s)
        start_at = resuming(self._table, settings, topic, kind="/entries")
        self._tail = Tail(settings, topic, self._take, start_at=start_at, consumer=consumer)
        self._notifier = KeyNotifier()

    async def start(self) -> None:
        """Open the table and read on from its offsets."""
        self._notifier.start()
        await self._tail.start()

    async def close(self) -> None:
        """Stop reading and close the table."""
        if await self._tail.close():  # else its thread may still use the table
            self._table.close()

    def since(self, key: str, offset: int) -> Iterator[JournalEntry]:
        """Return the records of `key` from this offset on, in order."""
        return entries(self._table, key, offset)

    def subscribe(self, key: str, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set `event` at each change of `key`, as `KeyNotifier.subscribe` does."""
        return self._notifier.subscribe(key, event)

    # -- the reader's thread ---------------------------------------------------------------------

    def _take(self, messages: list[Message]) -> None:
        changed: set[str] = set()
        appended = []
        for message in messages:
            try:
                key = decode_key(message)
            except DecodeError:
                continue  # no query can ask for it
            changed.add(key)
            appended.append(JournalEntry.of(message).row(key))
        self._table.write((), next_offsets(messages), appended)
        self._notifier.notify(changed)


def entries(table: Table, key: str, offset: int = 0) -> Iterator[JournalEntry]:
    """Yield the entries of `key` in a table, from this offset on, in order."""
    for at, row in table.rows(_prefix(key), offset.to_bytes(8)):
        head, _, value = row.partition(_END)
        time_ms, _, type = head.decode().partition(" ")
        yield JournalEntry(int.from_bytes(at), int(time_ms), type, value)


def _prefix(key: str) -> bytes:
    raw = key.encode()
    return _ENTRY + len(raw).to_bytes(4) + raw
