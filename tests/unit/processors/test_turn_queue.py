"""Records of the queue that the store processor appends outside of transactions."""

import asyncio
from collections.abc import Awaitable, Callable

from confluent_kafka import KafkaError, KafkaException, Message

from processors.store.dispatcher import Dispatcher
from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from processors.store.turn_queue import TurnQueue
from tests.support.submissions import event, request
from topics.catalogue import catalogue
from topics.kafka.codec import Record
from topics.kafka.ports import LoopClock
from topics.leases import CapacityReport
from topics.settings import KafkaSettings

STORE = submission_store(catalogue(KafkaSettings()))
MEMBER_S = 2.0
NOW_S = 100.0


class Queue:
    """Producer whose records are acknowledged when the test says so."""

    def __init__(self) -> None:
        self.records: list[tuple[Record, int, asyncio.Future[Message]]] = []

    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.records.append((record, partition, future))
        return future

    def produce(self, record: Record, *, partition: int = -1) -> object:
        return self.publish(record, partition=partition)


def run(test: Callable[[TurnQueue, Queue, Dispatcher, Partition], Awaitable[None]]) -> None:
    async def scenario() -> None:
        queue, dispatcher, partition = Queue(), Dispatcher(1), Partition(STORE)
        dispatcher.restored(0, partition, NOW_S)
        applied = partition.fold(event(0, request().replace(dispatch="turn"), "a"))
        dispatcher.folded(0, applied, NOW_S, existed=False)
        await test(TurnQueue(queue, dispatcher, 3, MEMBER_S, LoopClock()), queue, dispatcher, partition)

    asyncio.run(scenario())


def test_it_is_open_for_a_while_after_a_transaction() -> None:
    async def test(turn_queue: TurnQueue, *_: object) -> None:
        assert not turn_queue.is_open(NOW_S)
        turn_queue.committed(NOW_S)
        assert turn_queue.is_open(NOW_S + MEMBER_S - 0.01)
        assert not turn_queue.is_open(NOW_S + MEMBER_S)
        turn_queue.close()
        assert not turn_queue.is_open(NOW_S)

    run(test)


def test_what_the_queue_refuses_waits_again() -> None:
    async def test(turn_queue: TurnQueue, queue: Queue, dispatcher: Dispatcher, partition: Partition) -> None:
        report = CapacityReport(worker="w", partitions=(2,), free=1)
        dispatcher.update([Message("slots", 0, 0, b"w", report.model_dump_json().encode(), [])], NOW_S)
        [(turn, place)] = dispatcher.due_turns(1, NOW_S)
        turn_queue.append(partition, turn, place)
        [(record, to, appended)] = queue.records
        assert (record.key, to) == (b"a", 2)
        assert not dispatcher.is_waiting
        appended.set_exception(KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert dispatcher.is_waiting
        now_s = asyncio.get_running_loop().time()
        turn_queue.committed(now_s)
        assert not turn_queue.is_open(now_s), "transactions are used for a while"

    run(test)


def test_it_is_closed_while_the_queue_acknowledges_nothing() -> None:
    async def test(turn_queue: TurnQueue, _: Queue, dispatcher: Dispatcher, partition: Partition) -> None:
        [(turn, place)] = dispatcher.due_turns(1, NOW_S)
        turn_queue.append(partition, turn, place)
        now_s = asyncio.get_running_loop().time()
        turn_queue.committed(now_s)
        assert turn_queue.is_open(now_s)
        assert not turn_queue.is_open(now_s + 0.5)

    run(test)


def test_records_without_a_place_go_to_one_partition_after_the_other() -> None:
    async def test(turn_queue: TurnQueue, queue: Queue, dispatcher: Dispatcher, partition: Partition) -> None:
        [(turn, _)] = dispatcher.due_turns(1, NOW_S)
        for _ in range(4):
            turn_queue.append(partition, turn, None)
        assert [to for _, to, _ in queue.records] == [0, 1, 2, 0]

    run(test)
