"""Mirrors `QueueRedistribution` of `processors/queue/redistribution.py`, around what really decides."""

from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import Message

from processors.queue.redistribution import (
    AnnouncePolicy,
    PeerCapacity,
    Redirect,
    Waiting,
    memory_bytes_of,
    one_hop_more,
    redirects,
)
from tests.simulator.family import Family
from tests.simulator.scheduler import Future, Process
from topics.kafka.codec import Record, decode, encode
from topics.leases import CapacityReport

if TYPE_CHECKING:
    from tests.simulator.world import World


KNOWN_S = 3.0


class HandingBack:
    """`HandingBack`: what is said of room, and who is told."""

    def __init__(
        self, world: "World", process: Process, family: Family, memory_bytes: int | None = None
    ) -> None:
        self._world, self._process, self._family = world, process, family
        self._memory_bytes = memory_bytes
        self._partitions, self._assigned_s = frozenset[int](), world.scheduler.now_s
        self._board, self._telling = PeerCapacity(), AnnouncePolicy()
        self._position = family.slots.end
        self._full_since_s: float | None = None

    def hear(self) -> None:
        """Take in what others said."""
        if not self._world.network.reaches(self._process):
            return
        read = self._family.slots.read(self._position, 1000)
        self._position = read.position
        for message in read.messages:
            room = decode(CapacityReport, message.value())
            if room.worker != self._process.name:
                self._board.update(room, self._world.scheduler.now_s)

    def tell(self, partitions: frozenset[int], room: int, *, idle: bool) -> None:
        """`tell`."""
        now_s = self._world.scheduler.now_s
        if partitions != self._partitions:
            self._partitions, self._assigned_s = partitions, now_s
        if room > 0:
            self._full_since_s = None
        elif self._full_since_s is None:
            self._full_since_s = now_s
        free = max(0, room) if idle else 0
        if len(partitions) != len(self._family.queue) and self._telling.due(partitions, free, now_s):
            self._telling.announced(partitions, free, now_s)
            name = self._process.name
            said = CapacityReport(
                worker=name,
                partitions=tuple(sorted(partitions)),
                free=free,
                memory_bytes=self._memory_bytes,
            )
            topic = self._family.slots.topic
            self._world.network.produce(self._process, topic, name.encode(), encode(said), [])

    def elsewhere(self) -> int:
        """`elsewhere`."""
        return self._board.free(self._world.scheduler.now_s)

    def leaving(self, waiting: list[Waiting]) -> list[Redirect]:
        """`leaving`."""
        now_s = self._world.scheduler.now_s
        return redirects(
            self._board,
            waiting,
            self._full_since_s or now_s,
            now_s,
            partial(memory_bytes_of, model=self._family.work),
        )

    def is_too_large(self, memory_bytes: int) -> bool:
        """`is_too_large`."""
        return self._memory_bytes is not None and memory_bytes > self._memory_bytes

    def to_abler(self, message: Message, memory_bytes: int) -> Redirect | None:
        """`to_abler`."""
        record = one_hop_more(message)
        if record is None:
            return None
        partition = self._board.choose(self._world.scheduler.now_s, memory_bytes, full_too=True)
        return None if partition is None else Redirect(record, partition)

    def knows_others(self) -> bool:
        """`knows_others`."""
        return self._world.scheduler.now_s - self._assigned_s >= KNOWN_S

    def produce(self, record: Record, partition: int) -> Future:
        """The record, elsewhere."""
        assert isinstance(record.key, bytes)
        assert isinstance(record.value, bytes)
        network, topic = self._world.network, self._family.queue[0].topic
        return network.produce(
            self._process, topic, record.key, record.value, record.headers, partition=partition
        )
