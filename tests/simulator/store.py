"""Mirrors `processors/store/processor.py` and `restore.py`, around the real `Partition`."""

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from processors.store.partition import Partition
from tests.simulator.broker import Log
from tests.simulator.family import Family
from tests.simulator.groups import Consumer, UnstableOffsetError
from tests.simulator.network import BrokerError
from tests.simulator.scheduler import Future, Process, Wait, all_of
from tests.simulator.transactions import BusyError, FencedError
from topics.kafka.codec import Record

if TYPE_CHECKING:
    from tests.simulator.world import World

_BATCH = 500


class StoreProcessor:
    """One instance; `slot` tells the instances of one store apart, across their restarts."""

    def __init__(self, world: "World", process: Process, family: Family, slot: int) -> None:
        self._world, self._process, self._family = world, process, family
        self.id = f"{family.store.name}-{slot}"
        self._partitions: dict[int, Partition] = {}
        self._epoch = 0
        self._produced: list[Future] = []
        self._deadline_s: float | None = None

    def run(self) -> Wait:
        """`run`: the producer comes before the group."""
        world = self._world
        yield from self._new_producer()
        self._consumer = Consumer(
            world.scheduler,
            world.network,
            self._process,
            self._family.store_group,
            self._family.events,
            instance=self.id,
            on_assign=self._restore,
            on_revoke=self._forget,
        )
        while not self._process.stop.done:
            try:
                messages = yield from self._consumer.poll(_BATCH)
            except BrokerError:  # fenced by its `group.instance.id`: the consumer is dead
                break
            for message in messages:
                partition = self._partitions.get(message.partition() or 0)
                if partition is not None and (message.offset() or 0) >= partition.next_offset:
                    partition.fold(message)
            yield from self._commit_if_due()
            if not messages:
                yield from self._wait()
        world.scheduler.end(self._process)

    def _wait(self) -> Wait:
        if self._deadline_s is not None:
            yield max(0.0, self._deadline_s - self._world.scheduler.now_s)
        else:
            yield self._world.subscribe(self._family.events)

    def _call(self, request: Callable[[], Any], channel: object = None) -> Any:
        return self._world.network.call(self._process, request, channel)

    def _new_producer(self) -> Wait:
        self._epoch = yield from self._retrying(lambda: self._family.coordinator.init(self.id))

    def _retrying(self, request: Callable[[], Any]) -> Wait:
        while True:
            try:
                return (yield self._call(request))
            except BusyError:
                yield 0.02

    # -- assignment ---------------------------------------------------------------------------------

    def _forget(self, partitions: list[int]) -> None:
        for number in partitions:
            self._partitions.pop(number, None)

    def _restore(self, partitions: list[int]) -> Wait:
        self._forget(partitions)
        if not partitions:
            return {}
        offsets, ends = yield from self._committed_and_ends(partitions)
        restored = {
            p: Partition(self._family.store, next_offset=offsets[p], committed_offset=offsets[p])
            for p in partitions
        }
        yield from self._read(restored, ends)
        self._partitions |= restored
        return offsets

    def _committed_and_ends(self, partitions: list[int]) -> Wait:
        while True:
            try:
                offsets = yield self._call(lambda: self._family.store_group.committed(partitions))
                ends = yield self._call(lambda: {p: self._family.rows[p].end for p in partitions})
            except UnstableOffsetError:
                yield 0.05
            else:
                return offsets, ends

    def _read(self, restored: dict[int, Partition], ends: dict[int, int]) -> Wait:
        for number, partition in restored.items():
            position = 0
            while position < ends[number]:
                read = self._family.rows[number].read(position, 1000)
                if read.position == position:  # up to the last stable offset, and the end is not there yet
                    yield 0.01
                for message in read.messages:
                    key, value = message.key(), message.value()
                    assert isinstance(key, bytes)
                    assert isinstance(value, bytes)
                    partition.states[key.decode()] = value
                position = read.position

    # -- fold and commit ----------------------------------------------------------------------------

    def _commit_if_due(self) -> Wait:
        due = {p: partition for p, partition in self._partitions.items() if partition.uncommitted}
        now_s = self._world.scheduler.now_s
        wishes = [now_s + partition.patience_s for partition in due.values()]
        self._deadline_s = min(self._deadline_s or math.inf, *wishes) if due else None
        if self._deadline_s is None or now_s < self._deadline_s:
            return
        try:
            yield from self._commit(due)
        except BrokerError as error:
            yield from self._recover(error)

    def _commit(self, due: dict[int, Partition]) -> Wait:
        coordinator = self._family.coordinator
        yield from self._retrying(lambda: coordinator.ready(self.id, self._epoch))
        self._produced = [self._produce(log, records) for log, records in self._records(due).items()]
        member = self._member()
        offsets = {number: partition.next_offset for number, partition in due.items()}
        yield self._call(lambda: coordinator.add_offsets(self.id, self._epoch, member, offsets))
        yield from all_of(self._produced)
        yield from self._retrying(lambda: coordinator.end(self.id, self._epoch, committed=True))
        for partition in due.values():
            partition.committed()
        self._deadline_s = None

    def _member(self) -> str | None:
        """Metadata without a member would not be fenced."""
        if self._consumer.member is None:
            raise BrokerError("no member")
        return self._consumer.member

    def _records(self, due: dict[int, Partition]) -> dict[Log, list[Record]]:
        by_log: dict[Log, list[Record]] = defaultdict(list)
        for number, partition in due.items():
            for record in partition.records():
                own = record.topic == self._family.store.aggregate.family.store.name
                key = record.key if isinstance(record.key, bytes) else None
                by_log[self._world.broker.log_of(record.topic, key, number if own else -1)].append(record)
        return by_log

    def _produce(self, log: Log, records: list[Record]) -> Any:
        epoch = self._epoch

        def append() -> None:
            for record in records:
                self._family.coordinator.append(self.id, epoch, log, record)

        return self._call(append, channel=(self._process.name, log))

    def _recover(self, error: BrokerError) -> Wait:
        """Whatever went wrong: the transaction goes, all memory goes, the log says where we are."""
        coordinator = self._family.coordinator
        yield from self._flushed()
        try:
            if isinstance(error, FencedError):
                raise error
            yield from self._retrying(lambda: coordinator.end(self.id, self._epoch, committed=False))
        except BrokerError:  # a new epoch ends the old transaction
            yield from self._new_producer()
        self._deadline_s = None
        self._consumer.seek((yield from self._restore(list(self._partitions))))

    def _flushed(self) -> Wait:
        """librdkafka: records on their way arrive before an abort does."""
        for produced in self._produced:
            with suppress(BrokerError):
                yield produced
