"""Direct dispatch: plans of an ingest node, and how it carries them out."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from ingest import direct_dispatch
from ingest.direct_dispatch import MAX_AGE_S, REFUSED_S, SLOW_S, DirectDispatch, DispatchPlan
from tests.support.submissions import STARTED, finished, request
from topics.capacity import REPEAT_S
from topics.catalogue import catalogue
from topics.fold import Recorded
from topics.kafka.codec import Record, encode
from topics.leases import CapacityReport
from topics.settings import KafkaSettings
from topics.submissions.fold import apply, enqueue
from topics.submissions.state import Submission

FAMILY = catalogue(KafkaSettings()).submissions
REQUESTED = request(source="http")
APPENDED = Message(FAMILY.events.name, 2, 7, b"a", b"", [], timestamp=(2, 7))


class Queue:
    """Producer that keeps what it is given, and refuses it if there is an `error`."""

    def __init__(self) -> None:
        self.records: list[tuple[Record, int]] = []
        self.error: int | None = None

    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        acknowledged: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            acknowledged.set_exception(KafkaException(KafkaError(self.error)))
        else:
            self.records.append((record, partition))
            acknowledged.set_result(APPENDED)
        return acknowledged

    def produce(self, record: Record, *, partition: int = -1) -> object:
        return self.publish(record, partition=partition)


def run(test: Callable[[DirectDispatch, Queue], Awaitable[None]], *, others: int = 0) -> None:
    async def scenario() -> None:
        queue = Queue()
        await test(DirectDispatch(queue, FAMILY, "ingest/0", lambda: others), queue)

    asyncio.run(scenario())


def room(node: DirectDispatch, free: int, memory_bytes: int | None = None) -> None:
    report = CapacityReport(worker="w", partitions=(3,), free=free, memory_bytes=memory_bytes)
    node.update([Message(FAMILY.slots.name, 0, 0, b"w", encode(report), [])])


def plan(node: DirectDispatch, id: str = "a") -> DispatchPlan | None:
    return node.plan(id, REQUESTED)


async def acknowledgement(value: Message | Exception = APPENDED) -> "asyncio.Future[Message]":
    future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_plan_is_carried_out_once_the_request_is_acknowledged() -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 1)
        made = plan(node)
        assert made
        acknowledged: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        node.dispatch_after(acknowledged, made)
        await settle()
        assert queue.records == []
        acknowledged.set_result(APPENDED)
        await settle()
        [(record, partition)] = queue.records
        state = apply(None, Recorded("a", REQUESTED, 7)).state
        assert state
        assert (record.topic, record.key, partition) == (FAMILY.queue.name, b"a", 3)
        assert record.value == encode(enqueue(state).work)
        assert dict(record.headers)["ce_id"] == b"submissions.events/2/7"

    run(test)


def accepted() -> Submission:
    """Return the state that a request makes."""
    state = apply(None, Recorded("a", REQUESTED.replace(dispatch="direct"), 7)).state
    assert state
    return state


def test_an_id_of_a_client_is_dispatched_if_its_request_made_the_state() -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 1)
        for state in (None, accepted().replace(owed=None), accepted().replace(owed="turn")):
            made = plan(node)
            assert made
            assert plan(node) is None, "it is repeated"
            node.dispatch_if_accepted(made, APPENDED, state)
        assert queue.records == []
        made = plan(node)
        assert made
        node.dispatch_if_accepted(made, APPENDED, accepted())
        assert [record.value for record, _ in queue.records] == [encode(enqueue(accepted()).work)]

    run(test)


def test_without_room_nothing_is_planned() -> None:
    async def test(node: DirectDispatch, _: Queue) -> None:
        assert plan(node) is None, "no worker has published anything"
        room(node, 0)
        assert plan(node) is None
        room(node, 9, memory_bytes=1)
        assert plan(node) is None, "its memory limit is larger than the worker can hold"

    run(test)


def test_each_that_waits_keeps_a_free_slot() -> None:
    async def test(node: DirectDispatch, _: Queue) -> None:
        room(node, 2)
        assert plan(node) is None
        room(node, 3)
        assert plan(node)

    run(test, others=2)


def test_room_is_planned_once_until_the_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: DirectDispatch, _: Queue) -> None:
        room(node, 1)
        assert plan(node, "a")
        assert plan(node, "b") is None
        state = apply(None, Recorded("a", REQUESTED.replace(dispatch="direct"), 0)).state
        for fact, is_over in ((STARTED, False), (finished(), True)):
            state = apply(state, Recorded("a", fact, 0)).state
            assert state
            node.note(state)
            assert (plan(node, "b") is not None) == is_over
        now_s = asyncio.get_running_loop().time()
        monkeypatch.setattr(direct_dispatch, "_now_s", lambda: now_s + 4 * REPEAT_S)
        assert plan(node, "c") is None, "the worker is silent"

    run(test)


def test_a_worker_that_reports_no_more_gets_what_it_had_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: DirectDispatch, _: Queue) -> None:
        now_s = asyncio.get_running_loop().time()
        room(node, 2)
        found = []
        for number in range(20):
            monkeypatch.setattr(direct_dispatch, "_now_s", lambda number=number: now_s + number / 5)
            found.append(plan(node, str(number)) is not None)
        assert found == [True] * 2 + [False] * 18
        room(node, 1)
        assert plan(node, "new"), "it reported after the others had arrived"

    run(test)


def test_a_late_plan_is_left_to_the_store_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 1)
        made = plan(node)
        assert made
        monkeypatch.setattr(direct_dispatch, "_now_s", lambda: made.made_s + MAX_AGE_S + 0.01)
        node.dispatch_after(await acknowledgement(), made)
        await settle()
        assert queue.records == []

    run(test)


def test_a_request_that_was_not_appended_frees_its_room() -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 1)
        made = plan(node, "a")
        assert made
        node.dispatch_after(
            await acknowledgement(KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))), made
        )
        await settle()
        assert queue.records == []
        assert plan(node, "b")

    run(test)


def test_nothing_is_planned_after_the_queue_refused_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 9)
        queue.error = KafkaError.TOPIC_AUTHORIZATION_FAILED
        made = plan(node, "a")
        assert made
        node.dispatch_after(await acknowledgement(), made)
        await settle()
        assert plan(node, "b") is None
        monkeypatch.setattr(direct_dispatch, "_now_s", lambda: made.made_s + REFUSED_S + 1)
        room(node, 9)
        assert plan(node, "c")

    run(test)


def test_nothing_is_planned_while_the_queue_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 9)
        waiting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(queue, "publish", lambda _, partition: waiting)
        made = plan(node, "a")
        assert made
        node.dispatch_after(await acknowledgement(), made)
        await settle()
        assert plan(node, "b")
        monkeypatch.setattr(direct_dispatch, "_now_s", lambda: made.made_s + 2 * SLOW_S)
        assert plan(node, "c") is None
        waiting.set_result(APPENDED)
        await settle()
        assert plan(node, "d")

    run(test)


def test_a_request_whose_handler_is_cancelled_is_left_to_the_store_processor() -> None:
    """The client is told that the same id is safe, so another node may have accepted it first."""

    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 1)
        made = plan(node, "a")
        assert made
        appended: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        node.dispatch_after(appended, made)
        appended.cancel()
        await settle()
        assert queue.records == []

    run(test)


def test_close_carries_out_what_was_planned() -> None:
    async def test(node: DirectDispatch, queue: Queue) -> None:
        room(node, 1)
        made = plan(node)
        assert made
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[Message] = loop.create_future()
        node.dispatch_after(acknowledged, made)
        loop.call_later(0.05, acknowledged.set_result, APPENDED)
        await node.close()
        assert len(queue.records) == 1

    run(test)
