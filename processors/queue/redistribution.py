"""Redirecting: records that wait at a full worker move to a worker with free slots.

A consumer group binds a record to the owner of its partition, however long that owner is busy. Therefore
workers publish their free slots on `X.slots`, and a full worker produces waiting records to a partition of a
worker with free slots. The queue's offset is committed once that is acknowledged, without a transaction. A
crash in between leaves the record on the queue twice, which is harmless (rule 3), and never loses it.

This module decides; `consumer.py` consumes and produces.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from confluent_kafka import Message

from topics.capacity import REPEAT_S, PeerCapacity
from topics.fold import QueuedWork
from topics.kafka.codec import HOPS, DecodeError, Record, cloud_event, decode, encode, header, headers
from topics.kafka.ports import Clients, Producer
from topics.leases import CapacityReport, PreparedCounts
from topics.topic import Family

PATIENCE_S = 0.03
"""Time for which a record waits at a full worker, since a slot is mostly free again before that."""
MAX_HOPS = 5
"""Redirects of one record; after these it waits at its worker."""
READ_AHEAD = 16
"""Records that a full worker holds in memory in order to redirect them; each may have some MiB."""

_KNOWN_S = REPEAT_S + 1.0
"""Time without a rebalance after which every other process has published what it can hold."""
_NEWS_S = 0.1
"""Shortest time between two numbers of free slots; a change to or from none is published at once."""


class Waiting(NamedTuple):
    """A record that was consumed, and neither started nor committed."""

    message: Message
    since_s: float


@dataclass(slots=True)
class AnnouncePolicy:
    """Schedule of publishing free slots: seldom, since all workers read each record."""

    _announced: tuple[frozenset[int], int] | None = None
    _announced_s: float = field(default=float("-inf"))
    _none_since_s: float | None = None

    def due(self, partitions: frozenset[int], free: int, now_s: float) -> bool:
        """Return whether to publish partitions and free slots now."""
        self._none_since_s = None if free else self._none_since_s or now_s
        if self._announced is None or self._announced[0] != partitions:
            return True
        if self._announced[1] and self._none_since_s and now_s - self._none_since_s < PATIENCE_S:
            return False  # a record that is redirected here will be started soon
        if bool(free) != bool(self._announced[1]):
            return True
        since_s = now_s - self._announced_s
        return since_s >= REPEAT_S or (free != self._announced[1] and since_s >= _NEWS_S)

    def check_again_s(self, partitions: frozenset[int], free: int) -> float:
        """Return the time after which `due` may return another result."""
        return REPEAT_S if self._announced == (partitions, free) else PATIENCE_S

    def announced(self, partitions: frozenset[int], free: int, now_s: float) -> None:
        """Record what was published, and when."""
        self._announced, self._announced_s = (partitions, free), now_s


def redirected(message: Message) -> Record | None:
    """Return the record as it is redirected; None if it must stay.

    An exclusive attempt stays: it needs all slots of any worker, and would be redirected again and again.
    """
    with suppress(DecodeError):
        if not decode(QueuedWork, message.value()).alone:
            return one_hop_more(message)
    return None


def one_hop_more(message: Message) -> Record | None:
    """Return the record as it is produced to another partition; None after `MAX_HOPS` redirects."""
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


class Redirect(NamedTuple):
    """A record that is redirected, with its new partition."""

    record: Record
    partition: int


def redirects(
    peers: PeerCapacity,
    waiting: Sequence[Waiting],
    full_since_s: float | None,
    now_s: float,
    memory_bytes: Callable[[Message], int] = lambda _: 0,
) -> list[Redirect]:
    """Return the redirects of the first waiting records, which are in the order of consumption.

    A record is redirected after it waited for `PATIENCE_S`, or if the worker has been full for that long.
    `memory_bytes` returns the memory limit that a worker must be able to hold for a record.
    """
    found: list[Redirect] = []
    for each in waiting:
        if not _is_due(each, full_since_s, now_s):
            break
        record = redirected(each.message)
        if record is None or (choice := peers.choose(now_s, memory_bytes(each.message))) is None:
            break  # later records cannot be committed before this one
        found.append(Redirect(record, choice.partition))
    return found


def _is_due(each: Waiting, full_since_s: float | None, now_s: float) -> bool:
    since_s = each.since_s if full_since_s is None else min(each.since_s, full_since_s)
    return now_s - since_s >= PATIENCE_S


class QueueRedistribution:
    """Exchange of free slots between processes, and redirects of waiting records.

    An optimisation: without this class a record waits for the owner of its partition. See
    `docs/performance.md`.
    """

    def __init__(
        self,
        clients: Clients,
        family: Family,
        producer: Producer,
        name: str,
        on_change: Callable[[], None],
        *,
        all_partitions: int | None,
        model: type[QueuedWork] = QueuedWork,
        memory_bytes: int | None = None,
        prepared: Callable[[], PreparedCounts | None] = lambda: None,
    ) -> None:
        """`name` is this process's; `on_change` is called if free slots of others changed.

        `all_partitions` is the number of partitions of the queue: the owner of all of them publishes nothing.
        It is None if processes without partitions read free slots, too. `model` is that of the queue's
        records, `memory_bytes` the largest memory limit of a stage that this process can hold, None if it can
        hold any; `prepared` returns the use of its prepared sandboxes, if it has some.
        """
        self._model, self._memory_bytes, self._prepared = model, memory_bytes, prepared
        self._topic, self._name, self._producer = family.slots.name, name, producer
        self._all_partitions, self._on_change = all_partitions, on_change
        self._peers, self._policy = PeerCapacity(), AnnouncePolicy()
        self._partitions, self._free = frozenset[int](), 0
        self._assigned_s = 0.0
        self._full_since_s: float | None = None
        self._acknowledged: asyncio.Future[Message] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._follower = clients.follow(self._topic, self._apply, from_beginning=False)

    async def start(self) -> None:
        """Start reading the free slots of other processes."""
        self._assigned_s = _now_s()
        await self._follower.start()

    async def close(self) -> None:
        """Stop reading and publishing free slots."""
        if self._timer:
            self._timer.cancel()
        await self._follower.close()

    def update(self, partitions: frozenset[int], free_slots: int, *, idle: bool) -> None:
        """Take the present partitions and free slots of this process, and publish them if that is due.

        Unless the worker is `idle`, it publishes no free slots, since records wait for them here.
        """
        if partitions != self._partitions:
            self._partitions, self._assigned_s = partitions, _now_s()
        if free_slots > 0:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = _now_s()
        self._free = max(0, free_slots) if idle else 0
        self._announce()

    @property
    def others(self) -> bool:
        """Whether any other process has published its free slots."""
        return self._peers.others

    def elsewhere(self) -> int:
        """Return how many records other processes would start at once."""
        return self._peers.free(_now_s())

    def redirects(self, waiting: Sequence[Waiting]) -> list[Redirect]:
        """Return the redirects of the first waiting records, to be produced by the caller."""
        now_s = _now_s()
        memory_bytes = partial(memory_bytes_of, model=self._model)
        return redirects(self._peers, waiting, self._full_since_s, now_s, memory_bytes)

    def is_too_early(self, waiting: Sequence[Waiting]) -> bool:
        """Return whether other processes have free slots, and the first waiting record is not due yet."""
        now_s = _now_s()
        return bool(waiting) and self.elsewhere() > 0 and not _is_due(waiting[0], self._full_since_s, now_s)

    def is_too_large(self, memory_bytes: int) -> bool:
        """Return whether a memory limit is larger than this process can hold."""
        return self._memory_bytes is not None and memory_bytes > self._memory_bytes

    def to_abler(self, message: Message, memory_bytes: int) -> Redirect | None:
        """Return the redirect of work that is too large here.

        Return None if no process is known that can hold it, or if it was redirected too often.
        """
        record = one_hop_more(message)
        if record is None:
            return None
        choice = self._peers.choose(_now_s(), memory_bytes, full_too=True)
        return None if choice is None else Redirect(record, choice.partition)

    def knows_others(self) -> bool:
        """Return whether all others have had time to publish what they can hold since the last rebalance."""
        return _now_s() - self._assigned_s >= _KNOWN_S

    def most_memory_bytes(self) -> int:
        """Return the largest memory limit of a stage that any known process can hold, this one included."""
        return max(self._memory_bytes or 0, self._peers.memory_bytes(_now_s()))

    def _announce(self) -> None:
        if len(self._partitions) == self._all_partitions:
            return  # There is no other process. The next rebalance calls this method again.
        is_unacknowledged = self._acknowledged is not None and not self._acknowledged.done()
        if not is_unacknowledged:
            self._announce_if_due()
        self._check_in(self._policy.check_again_s(self._partitions, self._free))

    def _announce_if_due(self) -> None:
        now_s = _now_s()
        if self._policy.due(self._partitions, self._free, now_s):
            self._policy.announced(self._partitions, self._free, now_s)
            report = CapacityReport(
                worker=self._name,
                partitions=tuple(sorted(self._partitions)),
                free=self._free,
                memory_bytes=self._memory_bytes,
                prepared=self._prepared(),
            )
            attributes = cloud_event("envicutor.room.v1", uuid.uuid4().hex, self._name, self._name)
            record = Record(self._topic, self._name.encode(), encode(report), attributes)
            self._acknowledged = self._producer.publish(record)

    def _check_in(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None and self._timer.when() <= loop.time() + delay_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self._check)

    def _check(self) -> None:
        self._timer = None
        self._announce()

    def _apply(self, messages: list[Message]) -> None:
        for message in messages:
            with suppress(DecodeError):
                report = decode(CapacityReport, message.value())
                if report.worker != self._name:
                    self._peers.update(report, _now_s())
        self._on_change()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
