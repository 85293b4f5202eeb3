"""What Kafka keeps: logs, with append time, transactions' records, and what read_committed shows of them.

Every call here happens at the broker, at once; `network` says when requests arrive.
"""

import zlib
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import Message

from tests.simulator.scheduler import Future, Scheduler
from topics.kafka.codec import Headers

LOG_APPEND_TIME = 2


class Entry:
    """A record, or a marker of a transaction's end."""

    __slots__ = ("appended_s", "message", "offset", "transaction")

    def __init__(
        self, offset: int, message: Message | None, transaction: "Transaction | None", appended_s: float
    ) -> None:
        self.offset, self.message, self.transaction = offset, message, transaction
        self.appended_s = appended_s
        """By the simulation's clock; the broker's may be wrong."""


class Transaction:
    """Of one transactional producer, from its first record or offset on."""

    __slots__ = ("committed", "logs", "offsets", "started_s", "unmarked")

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.logs: dict[Log, list[Entry]] = {}
        self.offsets: dict[int, int] = {}
        """Of the store processors' own group, by partition."""
        self.committed: bool | None = None
        """None until it is decided. Markers follow, to each partition in its own time."""
        self.unmarked = 0


class Read(NamedTuple):
    """What was fetched."""

    messages: list[Message]
    position: int
    """Where to read on; counts markers and aborted records."""


def _offset_of(entry: Entry) -> int:
    return entry.offset


class Log:
    """A partition."""

    __slots__ = ("_open", "end", "entries", "hidden_until_s", "is_low", "listeners", "number", "topic")

    def __init__(self, topic: str, number: int) -> None:
        self.topic, self.number = topic, number
        self.entries: list[Entry] = []
        self.end = 0
        """Of read_uncommitted."""
        self._open: dict[Transaction, int] = {}
        self.listeners: list[Future] = []
        """Who waits for something to read."""
        self.hidden_until_s = 0.0
        """A new leader does not know the end until then (KIP-207)."""
        self.is_low = False
        """Whether the next answer about the end is 0."""

    def append(self, message: Message | None, transaction: Transaction | None, now_s: float) -> Entry:
        """Take a record in at the end."""
        entry = Entry(self.end, message, transaction, now_s)
        self.entries.append(entry)
        if transaction is not None and message is not None:
            self._open.setdefault(transaction, self.end)
        self.end += 1
        self._tell()
        return entry

    def mark(self, transaction: Transaction, scheduler: Scheduler) -> None:
        """The transaction's marker arrives: here it is over."""
        self.append(None, transaction, scheduler.now_s)
        self._open.pop(transaction, None)

    def _tell(self) -> None:
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener.set()

    @property
    def stable_end(self) -> int:
        """The last stable offset: where read_committed must stop."""
        return min(self._open.values()) if self._open else self.end

    def end_offset(self, now_s: float) -> int:
        """What `list_offsets` answers of read_uncommitted."""
        is_low, self.is_low = self.is_low, False
        return -1 if now_s < self.hidden_until_s else 0 if is_low else self.end

    def read(self, position: int, limit: int, *, committed: bool = True) -> Read:
        """Up to `limit` records from `position` on."""
        end = self.stable_end if committed else self.end
        if position >= end:
            return Read([], position)
        messages: list[Message] = []
        entries = self.entries
        for index in range(bisect_left(entries, position, key=_offset_of), len(entries)):
            entry = entries[index]
            if entry.offset >= end or len(messages) >= limit:
                return Read(messages, entry.offset)
            shown = entry.transaction is None or entry.transaction.committed or not committed
            if entry.message is not None and shown:
                messages.append(entry.message)
        return Read(messages, end)

    def at(self, offset: int) -> Entry:
        """The entry at an offset that was not deleted."""
        return self.entries[bisect_left(self.entries, offset, key=_offset_of)]

    def trim(self, offset: int) -> None:
        """Delete what lies below."""
        del self.entries[: bisect_left(self.entries, offset, key=_offset_of)]

    def compact(self) -> None:
        """Delete every record of which a later one has the key, below the last stable offset."""
        stable = self.stable_end
        seen: set[object] = set()
        kept: list[Entry] = []
        for entry in reversed(self.entries):
            if entry.offset >= stable:
                kept.append(entry)
            elif entry.message is not None and (entry.transaction is None or entry.transaction.committed):
                key = entry.message.key()
                if key not in seen:
                    seen.add(key)
                    kept.append(entry)
        self.entries = kept[::-1]


Appended = Callable[[Log, Entry], None]


class Broker:
    """All topics; one broker, so that nothing acknowledged is lost. It can be away."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Log]] = {}
        self.clock_skew_s = 0.0
        """Of its clock, which others may set."""
        self.away_until_s = 0.0
        self.on_append: list[Appended] = []

    def create(self, topic: str, partitions: int) -> list[Log]:
        """A new topic."""
        self.topics[topic] = [Log(topic, number) for number in range(partitions)]
        return self.topics[topic]

    def log_of(self, topic: str, key: bytes | None, partition: int = -1) -> Log:
        """Where a record goes."""
        logs = self.topics[topic]
        return logs[partition] if partition >= 0 else logs[zlib.crc32(key or b"") % len(logs)]

    def append(
        self,
        log: Log,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        now_s: float,
        transaction: Transaction | None = None,
    ) -> Message:
        """A record comes in; returns it as it stands on the log."""
        time_ms = round((1_000_000 + now_s + self.clock_skew_s) * 1000)
        stamp = (LOG_APPEND_TIME, time_ms)
        message = Message(log.topic, log.number, log.end, key, value, headers, timestamp=stamp)
        entry = log.append(message, transaction, now_s)
        for observer in self.on_append:
            observer(log, entry)
        return message
