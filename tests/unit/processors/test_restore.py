"""Restores of a store's memory: what is read, and what is not taken for the end of the store."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException
from typing_extensions import override

from processors.store.partition import Partition
from processors.store.restore import Restorer
from processors.store.submission_store import submission_store
from tests.simulator.broker import Transaction
from tests.simulator.groups import Group
from tests.simulator.virtual.consumer import VirtualConsumer
from tests.simulator.virtual.reader import VirtualReader
from tests.unit.simulator.machine import Machine
from topics.catalogue import catalogue
from topics.kafka.ports import LoopClock, RebalanceListener
from topics.settings import KafkaSettings

STORE = submission_store(catalogue(KafkaSettings()))
ROWS = {"a": b"1", "b": b"2"}


class Restoring(RebalanceListener):
    """A restore of partition 0 of a topic with two rows, within a rebalance."""

    def __init__(self) -> None:
        self.machine = Machine()
        topics = STORE.aggregate.family
        [self.rows] = self.machine.broker.create(topics.store.name, 1)
        [self.events] = self.machine.broker.create(topics.events.name, 1)
        self.group = Group(self.machine.scheduler, "group", 1, 100.0)
        self.loop = self.machine.loop()
        self.consumer = VirtualConsumer(self.loop, self.machine.network, self.group, [self.events])
        self.others = {topics.events.name: [self.events]}
        self.reader = VirtualReader(self.loop, self.machine.network, [self.rows], self.others)
        self.progress: list[bool] = []
        self.restored: dict[int, Partition] = {}
        for key, value in ROWS.items():
            self.append(key, value)
        self.group.commit(None, {0: 7})

    def append(self, key: str, value: bytes | None, transaction: Transaction | None = None) -> None:
        now_s = self.machine.scheduler.now_s
        self.machine.broker.append(self.rows, key.encode(), value, [], now_s, transaction)

    def note(self, *, alive: bool = True) -> None:
        self.progress.append(alive)

    @override
    async def on_assign(self, partitions: Collection[int]) -> Mapping[int, int]:
        restorer = Restorer(STORE, self.consumer, self.reader, lambda _: {}, LoopClock(), self.note)
        self.restored = await restorer.restore(partitions)
        return {p: partition.next_offset for p, partition in self.restored.items()}

    @override
    async def on_revoke(self, partitions: Collection[int]) -> None:
        self.restored = {}

    @override
    async def on_lost(self, partitions: Collection[int]) -> None:
        self.restored = {}

    def begin(self) -> "asyncio.Task[None]":
        async def main() -> None:
            await self.consumer.subscribe(self)
            while not self.restored:
                await self.consumer.poll(1, 1.0)

        return self.loop.create_task(main())

    def finish(self) -> Partition:
        self.machine.until(self.begin().done)
        return self.restored[0]


@pytest.fixture
def restoring() -> Restoring:
    return Restoring()


def test_memory_is_the_rows_and_the_committed_offset(restoring: Restoring) -> None:
    restoring.append("a", None)
    partition = restoring.finish()
    assert partition.states == {"b": b"2"}
    assert (partition.next_offset, partition.uncommitted) == (7, False)
    assert True in restoring.progress


def test_an_open_transaction_is_waited_for(restoring: Restoring) -> None:
    transaction = Transaction(0.0)
    restoring.append("a", b"3", transaction)
    restoring.append("c", b"4")
    restore = restoring.begin()
    restoring.machine.advance(20)
    assert not restore.done()
    transaction.committed = True
    restoring.rows.mark(transaction, restoring.machine.scheduler)
    restoring.machine.until(restore.done)
    assert restoring.restored[0].states == {"a": b"3", "b": b"2", "c": b"4"}


def test_pending_offsets_are_waited_for(restoring: Restoring) -> None:
    transaction = Transaction(0.0)
    restoring.group.pend(transaction, {0: 9})
    restore = restoring.begin()
    restoring.machine.advance(30)
    assert not restore.done()
    restoring.append("a", b"3")
    transaction.committed = True
    restoring.group.mark(transaction)
    restoring.machine.until(restore.done)
    assert (restoring.restored[0].next_offset, restoring.restored[0].states["a"]) == (9, b"3")


def unknown() -> Mapping[int, int]:
    raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))


def empty() -> Mapping[int, int]:
    return {0: 0}


class NewLeader(VirtualReader):
    """Its first answers about the end are those of a leader that does not know it yet (KIP-207)."""

    def answer_first(self, *answers: Callable[[], Mapping[int, int]]) -> None:
        self._first = list(answers)

    @override
    async def end_offsets(self, partitions: Collection[int], topic: str | None = None) -> Mapping[int, int]:
        if self._first and topic is None:
            return self._first.pop(0)()
        return await super().end_offsets(partitions, topic)


@pytest.mark.parametrize("answers", [(unknown,), (unknown,) * 20, (empty,), (empty, unknown, empty, empty)])
def test_a_new_leader_does_not_make_the_store_empty(
    restoring: Restoring, answers: tuple[Callable[[], Mapping[int, int]], ...]
) -> None:
    leader = NewLeader(restoring.loop, restoring.machine.network, [restoring.rows], restoring.others)
    leader.answer_first(*answers)
    restoring.reader = leader
    assert restoring.finish().states == ROWS


def test_a_store_may_be_empty_though_events_were_folded() -> None:
    """Such as: no event could be read."""
    restoring = Restoring()
    leader = NewLeader(restoring.loop, restoring.machine.network, [restoring.rows], restoring.others)
    leader.answer_first(*[empty] * 4)
    restoring.reader = leader
    assert restoring.finish().states == {}


def test_a_restore_ends_with_what_its_progress_raises(restoring: Restoring) -> None:
    class StoppedError(Exception):
        pass

    def stop(*, alive: bool = True) -> None:
        raise StoppedError

    restoring.note = stop  # type: ignore[method-assign]
    restore = restoring.begin()
    restoring.machine.until(restore.done)
    assert isinstance(restore.exception(), StoppedError)
