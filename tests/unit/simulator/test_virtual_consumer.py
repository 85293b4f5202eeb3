"""The simulated member of a group: what librdkafka and the broker do, and no more."""

import asyncio
from collections.abc import Collection, Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from typing_extensions import override

from tests.simulator.broker import Transaction
from tests.simulator.groups import Group
from tests.simulator.virtual.consumer import VirtualConsumer
from tests.simulator.virtual.loop import VirtualLoop
from tests.unit.simulator.machine import Machine
from topics.kafka.ports import RebalanceListener

SESSION_S = 2.0


class Listener(RebalanceListener):
    """Remembers what it was told, and takes a second for it."""

    def __init__(self, starts: Mapping[int, int] = {}) -> None:
        self.told: list[tuple[str, frozenset[int]]] = []
        self._starts = starts

    async def _take(self, what: str, partitions: Collection[int]) -> None:
        await asyncio.sleep(1)
        self.told.append((what, frozenset(partitions)))

    @override
    async def on_assign(self, partitions: Collection[int]) -> Mapping[int, int]:
        await self._take("assigned", partitions)
        return {p: offset for p, offset in self._starts.items() if p in partitions}

    @override
    async def on_revoke(self, partitions: Collection[int]) -> None:
        await self._take("revoked", partitions)

    @override
    async def on_lost(self, partitions: Collection[int]) -> None:
        await self._take("lost", partitions)


class GroupOfTwo:
    """A topic of two partitions, and its group."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.logs = self.machine.broker.create("topic", 2)
        self.group = Group(self.machine.scheduler, "group", 2, SESSION_S)

    def append(self, partition: int, count: int = 1) -> None:
        for _ in range(count):
            self.machine.broker.append(
                self.logs[partition], b"key", b"value", [], self.machine.scheduler.now_s
            )

    def member(self, listener: Listener, instance: str | None = None) -> tuple[VirtualLoop, VirtualConsumer]:
        loop = self.machine.loop()
        consumer = VirtualConsumer(loop, self.machine.network, self.group, self.logs, instance=instance)
        self.machine.run(loop, consumer.subscribe(listener))
        return loop, consumer

    def expire(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.machine.advance(1)
            self.group.expire()


@pytest.fixture
def topic() -> GroupOfTwo:
    return GroupOfTwo()


def places(messages: list[Message]) -> list[tuple[int | None, int | None]]:
    return sorted((message.partition(), message.offset()) for message in messages)


async def read(consumer: VirtualConsumer, timeout_s: float = 20) -> list[tuple[int | None, int | None]]:
    found: list[Message] = []
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline_s:
        found += await consumer.poll(500, 1)
    return places(found)


def test_an_assignment_is_taken_within_poll_and_says_where_to_start(topic: GroupOfTwo) -> None:
    topic.append(0, 3)
    topic.append(1, 3)
    topic.group.commit(None, {1: 2})
    listener = Listener(starts={0: 1})
    loop, consumer = topic.member(listener)
    assert topic.machine.run(loop, read(consumer)) == [(0, 1), (0, 2), (1, 2)]
    assert listener.told == [("assigned", frozenset({0, 1}))]
    assert consumer.high_watermark(0) == 3


def test_poll_waits_for_the_first_record_only(topic: GroupOfTwo) -> None:
    loop, consumer = topic.member(Listener())

    async def main() -> tuple[float, int, float]:
        await read(consumer)
        started_s = loop.time()
        assert await consumer.poll(500, 5) == []
        empty_s = loop.time() - started_s
        topic.append(0)
        started_s = loop.time()
        found = await consumer.poll(500, 60)
        return empty_s, len(found), loop.time() - started_s

    empty_s, found, found_s = topic.machine.run(loop, main())
    assert 5 <= empty_s < 6.5
    assert (found, found_s < 1.5) == (1, True)


def test_a_partition_moves_once_it_was_given_up(topic: GroupOfTwo) -> None:
    first, second = Listener(), Listener()
    loop, consumer = topic.member(first)
    topic.machine.run(loop, read(consumer, 5))
    other_loop, other = topic.member(second)
    reading = other_loop.create_task(read(other, 10))
    topic.machine.advance(5)
    assert second.told == []  # the first has not polled
    topic.machine.run(loop, read(consumer, 5))
    topic.machine.until(reading.done)
    [(_, moved)] = second.told
    assert first.told[1:] == [("revoked", moved)]
    assert len(moved) == 1


def test_commits_still_count_while_partitions_are_given_up(topic: GroupOfTwo) -> None:
    class Committing(Listener):
        @override
        async def on_revoke(self, partitions: Collection[int]) -> None:
            await super().on_revoke(partitions)
            await consumer.commit(dict.fromkeys(partitions, 7))

    loop, consumer = topic.member(Committing())
    topic.machine.run(loop, read(consumer, 5))
    other_loop, other = topic.member(Listener())
    reading = other_loop.create_task(read(other, 10))
    topic.machine.run(loop, read(consumer, 5))
    topic.machine.until(reading.done)
    assert sorted(topic.group.offsets.values()) == [7]


def test_a_batch_may_hold_records_of_before_a_rebalance_and_of_after_it(topic: GroupOfTwo) -> None:
    topic.append(0, 1)
    found = set()
    for _ in range(20):
        listener = Listener()
        loop, consumer = topic.member(listener)

        async def batch(listener: Listener = listener, consumer: VirtualConsumer = consumer) -> bool:
            while not listener.told:
                await consumer.poll(500, 0.1)
            topic.group.rebalance(shuffled=True)
            topic.append(0)
            await asyncio.sleep(1.5)
            before = len(listener.told)
            messages = await consumer.poll(500, 1)
            return bool(messages) and len(listener.told) > before

        topic.machine.run(loop, batch())
        other_loop, other = topic.member(Listener())
        other_loop.create_task(read(other, 1000))
        found.add(topic.machine.run(loop, batch()))
        topic.machine.scheduler.end(loop.process)
        topic.machine.scheduler.end(other_loop.process)
        topic.expire(5)
    assert found == {True, False}


def test_a_static_member_takes_the_place_of_its_predecessor_which_is_dead(topic: GroupOfTwo) -> None:
    loop, consumer = topic.member(Listener(), "instance")
    topic.machine.run(loop, read(consumer, 5))
    successor = Listener()
    next_loop, following = topic.member(successor, "instance")
    topic.machine.run(next_loop, read(following, 5))
    assert successor.told == [("assigned", frozenset({0, 1}))]
    [message] = topic.machine.run(loop, consumer.poll(500, 5))
    error = message.error()
    assert error is not None
    assert (error.code(), error.fatal()) == (KafkaError._FATAL, False)


def test_a_member_that_was_given_up_has_lost_its_partitions(topic: GroupOfTwo) -> None:
    listener = Listener()
    loop, consumer = topic.member(listener)
    topic.machine.run(loop, read(consumer, 5))
    topic.machine.scheduler.pause(loop.process, 10)
    topic.expire(5)
    topic.machine.advance(10)
    topic.machine.run(loop, read(consumer, 5))
    assert [what for what, _ in listener.told] == ["assigned", "lost", "assigned"]


def test_pause_fetches_nothing_and_answers_rebalances(topic: GroupOfTwo) -> None:
    topic.append(0)
    listener = Listener()
    loop, consumer = topic.member(listener)
    consumer.pause()
    assert topic.machine.run(loop, read(consumer, 5)) == []
    assert listener.told == [("assigned", frozenset({0, 1}))]
    consumer.resume()
    assert topic.machine.run(loop, read(consumer, 5)) == [(0, 0)]


def test_seek_drops_what_was_fetched(topic: GroupOfTwo) -> None:
    topic.append(0, 3)
    loop, consumer = topic.member(Listener())
    assert topic.machine.run(loop, read(consumer, 5)) == [(0, 0), (0, 1), (0, 2)]
    consumer.seek({0: 1})
    assert topic.machine.run(loop, read(consumer, 5)) == [(0, 1), (0, 2)]


def test_only_what_is_assigned_can_be_sought(topic: GroupOfTwo) -> None:
    _, consumer = topic.member(Listener())
    with pytest.raises(KafkaException):
        consumer.seek({0: 1})


def test_an_acknowledgement_may_come_too_late(topic: GroupOfTwo) -> None:
    loop, consumer = topic.member(Listener())
    topic.machine.run(loop, read(consumer, 5))
    committing = loop.create_task(consumer.commit({0: 1}))
    topic.machine.until(lambda: bool(topic.group.offsets))
    topic.machine.scheduler.cut_off(loop.process, 30)
    topic.machine.until(committing.done)
    assert topic.group.offsets == {0: 1}
    asked = loop.create_task(consumer.commit({0: 2}))
    topic.machine.until(asked.done)
    error = asked.exception()
    assert isinstance(error, KafkaException)
    assert error.args[0].retriable()


def test_committed_waits_for_the_offsets_of_an_open_transaction(topic: GroupOfTwo) -> None:
    loop, consumer = topic.member(Listener())
    transaction = Transaction(0.0)
    topic.group.pend(transaction, {0: 5})
    asked = loop.create_task(consumer.committed([0, 1]))
    topic.machine.advance(5)
    assert not asked.done()
    transaction.committed = True
    topic.group.mark(transaction)
    topic.machine.until(asked.done)
    assert asked.result() == {0: 5, 1: 0}


def test_a_member_without_an_answer_is_none(topic: GroupOfTwo) -> None:
    loop, consumer = topic.member(Listener())
    assert consumer.group_metadata is None
    topic.machine.run(loop, read(consumer, 5))
    assert consumer.group_metadata is not None


def test_close_leaves_the_group_and_gives_up_what_it_has(topic: GroupOfTwo) -> None:
    listener = Listener()
    loop, consumer = topic.member(listener)
    topic.machine.run(loop, read(consumer, 5))
    topic.machine.run(loop, consumer.close())
    assert listener.told[-1] == ("revoked", frozenset({0, 1}))
    other_listener = Listener()
    other_loop, other = topic.member(other_listener)
    topic.machine.run(other_loop, read(other, 3))
    assert other_listener.told == [("assigned", frozenset({0, 1}))]
