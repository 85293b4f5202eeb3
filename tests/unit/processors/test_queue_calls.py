"""The order in which the consumer of a queue polls, commits and starts work, on a client that makes one call
at a time."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from typing_extensions import override

from processors.queue.commits import COMMIT_LINGER_S, OffsetCommitter
from processors.queue.consumer import QueueConsumer
from processors.queue.offsets import Delivery, Offsets
from processors.queue.redistribution import PATIENCE_S, QueueRedistribution
from tests.unit.processors.test_attempts import NOWHERE, Acknowledged, NoClients, NoConsumer, work
from topics.catalogue import catalogue
from topics.kafka.codec import encode
from topics.leases import CapacityReport
from topics.submissions.state import Work

WORK = work("0.0")
FULL_POLL_S = 0.5


class OneCallAtATime(NoConsumer):
    """A client whose commits wait for its poll, which waits for a record; it has three of them."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 0
        self.arrived, self.asked, self.answer = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._thread = asyncio.Lock()

    @override
    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        async with self._thread:
            self.polls += 1
            if timeout_s:
                await self.arrived.wait()
            await asyncio.sleep(0.001)
            offset = self.polls
            return [Message("q", 0, offset, b"k", encode(WORK))] if offset <= 3 else []

    @override
    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        self.asked.set()
        async with self._thread:
            await self.answer.wait()
            return await super().commit(offsets)


class FailsOnce(NoConsumer):
    """A client whose first commit is refused."""

    @override
    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        await super().commit(offsets)
        if len(self.commits) == 1:
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
        return offsets


class Handler:
    """A process with `slots` slots and room for a `backlog`, whose work never ends."""

    def __init__(self, slots: int, backlog: int = 0) -> None:
        self.slots, self.backlog = slots, backlog
        self.started: list[Delivery[Work]] = []
        self.has_started = asyncio.Event()

    def free_slots(self) -> int:
        return self.slots - len(self.started)

    def room(self) -> int:
        return self.free_slots() + self.backlog

    def start(self, delivery: Delivery[Work], *, is_first_delivery: bool) -> Awaitable[object] | None:
        self.started.append(delivery)
        self.has_started.set()
        return None

    async def lease(self, deliveries: Collection[Delivery[Work]]) -> None:
        raise AssertionError


def test_a_record_starts_while_a_commit_that_waited_for_its_poll_is_not_answered() -> None:
    async def test() -> None:
        client, handler = OneCallAtATime(), Handler(slots=3)
        consumer = QueueConsumer(client, Acknowledged(), handler, Work, queue="q", dead_letters="d")
        consuming = asyncio.create_task(consumer.run())
        over = Delivery(0, 0, WORK)
        consumer.offsets.add(over)
        consumer.settle(over)
        await client.asked.wait()
        client.arrived.set()
        await asyncio.wait_for(handler.has_started.wait(), 2)
        client.answer.set()
        consumer.stop()
        await consuming

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_commit_that_failed_is_repeated_without_more_work() -> None:
    async def test() -> None:
        client, offsets = FailsOnce(), Offsets[Work]()
        committer = OffsetCommitter(client, offsets, "q")
        offsets.add(Delivery(0, 7, WORK, settled=True))
        await committer.commit()
        assert not offsets.is_empty
        await asyncio.sleep(3 * COMMIT_LINGER_S)
        assert offsets.is_empty
        assert client.commits == [{0: 8}, {0: 8}]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_full_process_polls_however_often_slots_of_others_change() -> None:
    async def test() -> None:
        client, handler = OneCallAtATime(), Handler(slots=0)
        client.arrived.set()
        consumer = QueueConsumer(client, Acknowledged(), handler, Work, queue="q", dead_letters="d")
        consuming = asyncio.create_task(consumer.run())
        for _ in range(60):
            await asyncio.sleep(FULL_POLL_S / 30)
            consumer.slots_may_have_changed()
        assert client.polls >= 2
        consumer.stop()
        await consuming

    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize("full_for_s", [0.0, 2 * PATIENCE_S])
@pytest.mark.parametrize(("others", "started"), [(0, 3), (2, 1)])
def test_what_has_no_slot_here_goes_to_a_free_process_or_starts_in_the_backlog(
    others: int, started: int, full_for_s: float
) -> None:
    async def test() -> None:
        client, handler, producer = OneCallAtATime(), Handler(slots=0, backlog=9), Acknowledged()
        redistribution = QueueRedistribution(
            NoClients(), catalogue(NOWHERE).dependencies, producer, "w", lambda: None, all_partitions=None
        )
        consumer = QueueConsumer(
            client, producer, handler, Work, queue="q", dead_letters="d", redistribution=redistribution
        )
        report = CapacityReport(worker="other", partitions=(1,), free=others)
        redistribution._apply([Message("slots", 0, 0, b"other", encode(report))])
        redistribution.update(frozenset({0}), 0, idle=False)
        await asyncio.sleep(full_for_s)
        client.arrived.set()
        client.answer.set()
        consuming = asyncio.create_task(consumer.run())

        def redirected() -> int:
            return sum(record.topic == "q" for record in producer.said)

        async with asyncio.timeout(20):
            while len(handler.started) + redirected() < 3:  # noqa: ASYNC110 - two places may change
                await asyncio.sleep(0.01)
        assert (len(handler.started), redirected()) == (started, 3 - started)
        consumer.stop()
        await consuming
        await redistribution.close()

    asyncio.run(asyncio.wait_for(test(), 30))
