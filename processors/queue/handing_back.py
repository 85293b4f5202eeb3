"""Redirecting: records that wait at a full worker move to a worker with free slots.

A consumer group binds a record to the owner of its partition, however long that owner is busy. Therefore
workers publish their free slots on `X.slots`, and a full worker produces waiting records to a partition of a
worker with free slots. The queue's offset is committed once that is acknowledged, without a transaction. A
crash in between leaves the record on the queue twice, which is harmless (rule 3), and never loses it.

This module decides; `popper.py` consumes and produces.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from confluent_kafka import Message

from topics.fold import QueuedWork
from topics.kafka.clients import EventProducer
from topics.kafka.codec import DecodeError, Record, cloud_event, decode, encode, header, headers
from topics.kafka.tail import Tail, end
from topics.leases import Room
from topics.settings import KafkaSettings
from topics.topic import Family

PATIENCE_S = 0.03
"""Time for which a record waits at a full worker, since a slot is mostly free again before that."""
MAX_HOPS = 5
"""Redirects of one record; after these it waits at its worker."""
READ_AHEAD = 16
"""Records that a full worker holds in memory in order to redirect them; each may have some MiB."""
HOPS = "hops"
"""Header of a queue record: how often it was redirected."""

_REPEAT_S = 2.0
"""Period in which each worker publishes unchanged free slots, for processes that started since."""
_FORGOTTEN_S = 3 * _REPEAT_S
_KNOWN_S = _REPEAT_S + 1.0
"""Time without a rebalance after which every other process has published what it can hold."""
_NEWS_S = 0.1
"""Shortest time between two numbers of free slots; a change to or from none is published at once."""
_ARRIVES_S = 0.1
"""Time for which a redirected record counts as a slot that its new worker may still publish as free."""


class Waiting(NamedTuple):
    """A record that was consumed, and neither begun nor committed."""

    message: Message
    since_s: float


class Board:
    """Free slots of other processes, as far as these have published them."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Room, float]] = {}
        self._handed: list[tuple[str, float]] = []
        """Names of the workers that records were redirected to recently, with the time."""

    def hear(self, room: Room, now_s: float) -> None:
        """Record the free slots that a process published; may be called from another thread."""
        self._said[room.worker] = room, now_s

    @property
    def others(self) -> bool:
        """Whether any other process has published its free slots."""
        return bool(self._said)

    def memory_bytes(self, now_s: float) -> int:
        """Return the largest memory limit that another process with partitions published; 0 if none did."""
        return max((room.memory_bytes or 0 for room, _ in self._rooms(now_s)), default=0)

    def free(self, now_s: float) -> int:
        """Return how many records other processes would begin at once."""
        return sum(free for _, free in self._rooms(now_s))

    def choose(self, now_s: float, memory_bytes: int = 0, *, full_too: bool = False) -> int | None:
        """Return a partition whose owner has the most free slots, and count one of them as taken.

        Only owners that can hold a memory limit of `memory_bytes` count. With `full_too`, owners without free
        slots count as well. Return None if there is no such owner.
        """
        able = [each for each in self._rooms(now_s) if _can_hold(each[0], memory_bytes)]
        room, free = max(able, key=lambda each: each[1], default=(None, 0))
        if room is None or (free <= 0 and not full_too):
            return None
        self._handed.append((room.worker, now_s))
        return room.partitions[len(self._handed) % len(room.partitions)]

    def _rooms(self, now_s: float) -> list[tuple[Room, int]]:
        self._handed = [(to, at_s) for to, at_s in self._handed if now_s - at_s < _ARRIVES_S]
        rooms = []
        for worker, (room, said_s) in tuple(self._said.items()):
            if now_s - said_s > _FORGOTTEN_S:
                self._said.pop(worker, None)
            elif room.partitions:  # no record can be redirected to a worker without partitions
                handed = sum(to == worker for to, _ in self._handed)
                rooms.append((room, max(0, room.free - handed)))
        return rooms


def _can_hold(room: Room, memory_bytes: int) -> bool:
    return room.memory_bytes is None or room.memory_bytes >= memory_bytes


@dataclass(slots=True)
class Telling:
    """Schedule of publishing free slots: seldom, since all workers read each record."""

    _said: tuple[frozenset[int], int] | None = None
    _said_s: float = field(default=float("-inf"))
    _none_since_s: float | None = None

    def due(self, partitions: frozenset[int], free: int, now_s: float) -> bool:
        """Return whether to publish partitions and free slots now."""
        self._none_since_s = None if free else self._none_since_s or now_s
        if self._said is None or self._said[0] != partitions:
            return True
        if self._said[1] and self._none_since_s and now_s - self._none_since_s < PATIENCE_S:
            return False  # a record that is redirected here will be begun soon
        if bool(free) != bool(self._said[1]):
            return True
        since_s = now_s - self._said_s
        return since_s >= _REPEAT_S or (free != self._said[1] and since_s >= _NEWS_S)

    def said(self, partitions: frozenset[int], free: int, now_s: float) -> None:
        """Record what was published, and when."""
        self._said, self._said_s = (partitions, free), now_s


def moved(message: Message) -> Record | None:
    """Return the record as it is redirected; None if it must stay.

    An exclusive attempt stays: it needs all slots of any worker, and would be redirected again and again.
    """
    with suppress(DecodeError):
        if not decode(QueuedWork, message.value()).alone:
            return one_hop_more(message)
    return None


def one_hop_more(message: Message) -> Record | None:
    """Return the record as it is produced to another partition; None after `MAX_HOPS` of these moves."""
    hops = header(message, HOPS) or "0"
    if not hops.isdecimal() or int(hops) >= MAX_HOPS:
        return None
    others = [(name, value) for name, value in headers(message) if name != HOPS]
    one_more = (HOPS, str(int(hops) + 1).encode())
    return Record(message.topic() or "", message.key(), message.value(), [*others, one_more])


def memory_bytes_of(message: Message, model: type[QueuedWork]) -> int:
    """Return the memory limit that a worker must be able to hold for a record of the queue.

    Return 0 for a record that cannot be decoded: the process that takes it makes a dead letter of it.
    """
    with suppress(DecodeError):
        return decode(model, message.value()).memory_bytes
    return 0


class Moved(NamedTuple):
    """A record that is redirected, with its new partition."""

    record: Record
    partition: int


def leaving(
    board: Board,
    waiting: Sequence[Waiting],
    full_since_s: float,
    now_s: float,
    memory_bytes: Callable[[Message], int] = lambda _: 0,
) -> list[Moved]:
    """Return the redirects of the first waiting records, which are in the order of consumption.

    A record is redirected after it waited for `PATIENCE_S`, or if the worker has been full for that long.
    `memory_bytes` returns the memory limit that a worker must be able to hold for a record.
    """
    moving: list[Moved] = []
    for each in waiting:
        if now_s - min(each.since_s, full_since_s) < PATIENCE_S:
            break
        record = moved(each.message)
        if record is None or (partition := board.choose(now_s, memory_bytes(each.message))) is None:
            break  # later records cannot be committed before this one
        moving.append(Moved(record, partition))
    return moving


class HandingBack:
    """Exchange of free slots and redirects for a popper; only `start` and `close` run outside its thread."""

    def __init__(
        self,
        settings: KafkaSettings,
        family: Family,
        producer: EventProducer,
        name: str,
        on_news: Callable[[], None],
        *,
        model: type[QueuedWork] = QueuedWork,
        memory_bytes: int | None = None,
    ) -> None:
        """`name` is this process's; `on_news` is called, from any thread, if free slots of others changed.

        `model` is that of the queue's records, `memory_bytes` the largest memory limit of a stage that this
        process can hold; None if it can hold any.
        """
        self._model, self._memory_bytes = model, memory_bytes
        self._partitions, self._assigned_s = frozenset[int](), time.monotonic()
        self._topic, self._name, self._producer = family.slots.name, name, producer
        self._all_partitions = family.queue.partitions(settings.profile)
        self._on_news = on_news
        self._board, self._telling = Board(), Telling()
        self._full_since_s: float | None = None
        self._acknowledged: Future[Message] | None = None
        self._tail = Tail(settings, self._topic, self._hear, start_at=end)

    async def start(self) -> None:
        """Start reading the free slots of other processes."""
        await self._tail.start()

    async def close(self) -> None:
        """Stop reading the free slots of other processes."""
        await self._tail.close()

    def tell(self, partitions: frozenset[int], room: int, *, idle: bool) -> None:
        """Publish the free slots and partitions of this process, if they changed or are due again.

        Unless the worker is `idle`, it publishes no free slots, since records wait for them here.
        """
        now_s = time.monotonic()
        if partitions != self._partitions:
            self._partitions, self._assigned_s = partitions, now_s
        if room > 0:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = now_s
        if len(partitions) == self._all_partitions or (self._acknowledged and not self._acknowledged.done()):
            return  # no other process, or a record is still unacknowledged
        free = max(0, room) if idle else 0
        if self._telling.due(partitions, free, now_s):
            self._telling.said(partitions, free, now_s)
            said = Room(
                worker=self._name,
                partitions=tuple(sorted(partitions)),
                free=free,
                memory_bytes=self._memory_bytes,
            )
            attributes = cloud_event("envicutor.room.v1", uuid.uuid4().hex, self._name, self._name)
            record = Record(self._topic, self._name.encode(), encode(said), attributes)
            self._acknowledged = self._producer.produce(record)

    @property
    def others(self) -> bool:
        """Whether any other process has published its free slots."""
        return self._board.others

    def elsewhere(self) -> int:
        """Return how many records other processes would begin at once."""
        return self._board.free(time.monotonic())

    def leaving(self, waiting: Sequence[Waiting]) -> list[Moved]:
        """Return the redirects of the first waiting records, to be produced by the caller."""
        now_s = time.monotonic()
        full_since_s = self._full_since_s or now_s
        return leaving(self._board, waiting, full_since_s, now_s, partial(memory_bytes_of, model=self._model))

    def is_too_large(self, memory_bytes: int) -> bool:
        """Return whether a memory limit is larger than this process can hold."""
        return self._memory_bytes is not None and memory_bytes > self._memory_bytes

    def to_abler(self, message: Message, memory_bytes: int) -> Moved | None:
        """Return the redirect of work that is too large here.

        Return None if no process is known that can hold it, or if it was redirected too often.
        """
        record = one_hop_more(message)
        if record is None:
            return None
        partition = self._board.choose(time.monotonic(), memory_bytes, full_too=True)
        return None if partition is None else Moved(record, partition)

    def knows_others(self) -> bool:
        """Return whether all others have had time to publish what they can hold since the last rebalance."""
        return time.monotonic() - self._assigned_s >= _KNOWN_S

    def most_memory_bytes(self) -> int:
        """Return the largest memory limit of a stage that any known process can hold, this one included."""
        return max(self._memory_bytes or 0, self._board.memory_bytes(time.monotonic()))

    def _hear(self, messages: list[Message]) -> None:
        for message in messages:
            with suppress(DecodeError):
                room = decode(Room, message.value())
                if room.worker != self._name:
                    self._board.hear(room, time.monotonic())
        self._on_news()
