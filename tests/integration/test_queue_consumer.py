"""A queue on a real broker: what runs is leased and committed, or comes again; nothing is skipped."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Collection, Iterator
from contextlib import contextmanager

import pytest

from processors.queue.consumer import CLIENT_OPTIONS, QueueConsumer
from processors.queue.offsets import Delivery
from tests.support.polling import eventually
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, encode
from topics.kafka.confluent import ConfluentClients
from topics.kafka.scan import committed_offsets, read_to_end
from topics.leases import StopOrder
from topics.settings import KafkaSettings

DEADLINE_S = 60.0
GROUP = "workers"
LOOK_S = 0.02


class Queue:
    """A queue, of which any model may be the work."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings, self.topics = settings, catalogue(settings)
        self.name = self.topics.submissions.queue.name
        ensure_topics(settings, (self.topics.submissions.queue, self.topics.dead_letters))
        self.producer = EventProducer(settings)
        self.deaths = 0

    def put(self, *ids: str, raw: bytes | None = None, partition: int = -1) -> None:
        for id in ids:
            value = raw or encode(StopOrder(id=id, attempt=1))
            record = Record(self.name, id.encode(), value, [])
            self.producer.produce(record, partition=partition).result(DEADLINE_S)

    def committed(self) -> int:
        return sum(committed_offsets(self.settings, GROUP, self.name).values())

    def consumer(self, owner: "Owner", lease_after_s: float = DEADLINE_S) -> "Consuming":
        return Consuming(self, owner, lease_after_s)

    def close(self) -> None:
        self.producer.close()


class Consuming:
    """A consumer in an event loop of its own."""

    def __init__(self, queue: Queue, owner: "Owner", lease_after_s: float) -> None:
        self._queue, self._owner = queue, owner
        owner.lease_after_s = lease_after_s
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    async def _run(self) -> None:
        queue = self._queue
        self._loop = asyncio.get_running_loop()
        self._consumer: QueueConsumer[StopOrder] = QueueConsumer(
            ConfluentClients(queue.settings).consumer(GROUP, queue.name, CLIENT_OPTIONS),
            queue.producer,
            self._owner,
            StopOrder,
            queue=queue.name,
            dead_letters=queue.topics.dead_letters.name,
        )
        self._owner.use(self._consumer)
        self._ready.set()
        try:
            await self._consumer.run()
        except Exception:
            queue.deaths += 1
            raise

    def wake(self) -> None:
        self._loop.call_soon_threadsafe(self._consumer.slots_may_have_changed)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._consumer.stop)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


class Owner:
    """A worker that says what happened, and acknowledges when it is told to."""

    def __init__(self, queue: Queue, places: int = 100, *, at_once: bool = False) -> None:
        """`at_once`: run what nobody was given before, unleased."""
        self._queue, self.places, self._at_once = queue, places, at_once
        self.begun: list[str] = []
        self.ran_at_once: list[str] = []
        self.leased: list[str] = []
        self.ended: set[str] = set()
        self.delivered: list[str] = []
        self.committed_at_delivery: list[int] = []
        self.acknowledged = threading.Event()
        self.lease_after_s = DEADLINE_S
        self._tasks: set[asyncio.Task[None]] = set()

    def use(self, consumer: QueueConsumer[StopOrder]) -> None:
        self._consumer = consumer

    def free_slots(self) -> int:
        return self.places - len(self.begun)

    def room(self) -> int:
        return self.free_slots()

    def start(self, delivery: Delivery[StopOrder], *, is_first_delivery: bool) -> Awaitable[object] | None:
        assert delivery.work
        self.begun.append(delivery.work.id)
        at_once = is_first_delivery and self._at_once
        if at_once:
            self.ran_at_once.append(delivery.work.id)
        secured = asyncio.Event()
        task = asyncio.create_task(self._run(delivery, secured, at_once=at_once))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None if at_once else secured.wait()

    async def _run(self, delivery: Delivery[StopOrder], secured: asyncio.Event, *, at_once: bool) -> None:
        assert delivery.work
        if not (at_once and await self._is_over(delivery.work.id, self.lease_after_s)):
            await self.lease([delivery, *self._consumer.offsets.unsettled_to(delivery)])
            await self._consumer.committer.commit()
            if delivery.work.id not in self.delivered:
                self.deliver(delivery.work)
            secured.set()
            await self._is_over(delivery.work.id, DEADLINE_S)
        self._consumer.settle(delivery)

    async def _is_over(self, id: str, timeout_s: float) -> bool:
        for _ in range(int(timeout_s / LOOK_S)):
            if id in self.ended:
                break
            await asyncio.sleep(LOOK_S)
        return id in self.ended

    async def lease(self, deliveries: Collection[Delivery[StopOrder]]) -> None:
        for each in deliveries:
            if each.work and each.work.id not in {*self.leased, *self.ended}:
                self.leased.append(each.work.id)
        await asyncio.to_thread(self.acknowledged.wait, DEADLINE_S)
        for each in deliveries:
            each.settled = True

    def deliver(self, work: StopOrder) -> None:
        self.committed_at_delivery.append(self._queue.committed())
        self.delivered.append(work.id)


@pytest.fixture
def queue(kafka: str, topic_prefix: str) -> Iterator[Queue]:
    queue = Queue(KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=2000))
    yield queue
    queue.close()


def test_leased_then_committed_then_delivered(queue: Queue) -> None:
    owner = Owner(queue)
    consuming = queue.consumer(owner)
    consuming.start()
    try:
        queue.put("a")
        eventually(lambda: owner.begun == ["a"], "the record to be taken")
        assert (queue.committed(), owner.delivered) == (0, [])
        owner.acknowledged.set()
        eventually(lambda: owner.delivered, "the delivery")
        assert owner.committed_at_delivery == [1]
    finally:
        owner.acknowledged.set()
        consuming.stop()


def test_no_more_is_taken_than_there_is_room_for_and_the_rest_is_for_others(queue: Queue) -> None:
    ids = [f"id-{number}" for number in range(20)]
    queue.put(*ids)
    full, other = Owner(queue, places=3), Owner(queue)
    full.acknowledged.set()
    other.acknowledged.set()
    first, second = queue.consumer(full), queue.consumer(other)
    first.start()
    try:
        eventually(lambda: len(full.delivered) == 3, "three deliveries")
        second.start()
        try:
            eventually(lambda: other.delivered, "a share for the other")
            assert len(full.delivered) == 3
            full.places = 100
            first.wake()
            eventually(lambda: len(full.delivered) + len(other.delivered) == 20, "the rest")
        finally:
            second.stop()
    finally:
        first.stop()
    assert sorted(full.delivered + other.delivered) == sorted(ids), "each once"
    assert queue.committed() == 20
    assert queue.deaths == 0


def test_partitions_that_were_lost_while_paused_are_consumed_when_they_come_back(queue: Queue) -> None:
    first, second = Owner(queue, places=1), Owner(queue)
    first.acknowledged.set()
    second.acknowledged.set()
    queue.put("first")
    full, other = queue.consumer(first), queue.consumer(second)
    full.start()
    try:
        eventually(lambda: first.delivered, "a delivery")
        other.start()  # a full worker answers the rebalance from paused partitions
        queue.put(*(f"share-{number}" for number in range(20)))
        eventually(lambda: second.delivered, "a share for the other")
        first.places = 100
        full.wake()
        other.stop()
        ids = [f"after-{number}" for number in range(20)]
        queue.put(*ids)
        eventually(lambda: set(ids) <= set(first.delivered), "everything that comes afterwards")
    finally:
        full.stop()


def test_unreadable_work_goes_to_the_dead_letters_and_the_queue_goes_on(queue: Queue) -> None:
    owner = Owner(queue)
    owner.acknowledged.set()
    queue.put("a", raw=b"{")
    queue.put("a", "b")
    consuming = queue.consumer(owner)
    consuming.start()
    try:
        eventually(lambda: len(owner.delivered) == 2, "two deliveries")
    finally:
        consuming.stop()
    assert sorted(owner.delivered) == ["a", "b"]
    assert queue.committed() == 3
    [letter] = read_to_end(queue.settings, queue.topics.dead_letters.name)
    assert (letter.key(), letter.value()) == (b"a", b"{")


def test_what_a_lost_worker_had_committed_is_not_delivered_again(queue: Queue) -> None:
    """Nor is anything else lost: the next one goes on right behind it."""
    queue.put("a", "b")
    first = Owner(queue, places=1)
    first.acknowledged.set()
    consuming = queue.consumer(first)
    consuming.start()
    eventually(lambda: first.delivered, "a delivery")
    consuming.stop()
    second = Owner(queue)
    second.acknowledged.set()
    consuming = queue.consumer(second)
    consuming.start()
    try:
        eventually(lambda: len(first.delivered) + len(second.delivered) == 2, "the other record")
    finally:
        consuming.stop()
    assert sorted(first.delivered + second.delivered) == ["a", "b"]


@contextmanager
def consuming_at_once(queue: Queue, lease_after_s: float = DEADLINE_S) -> Iterator[Owner]:
    """A consuming that has read something of partition 0, so that it knows what is new there."""
    queue.put("old", partition=0)
    owner = Owner(queue, at_once=True)
    owner.acknowledged.set()
    consuming = queue.consumer(owner, lease_after_s)
    consuming.start()
    try:
        eventually(lambda: owner.delivered == ["old"], "what was there before")
        assert (owner.leased, owner.ran_at_once, queue.committed()) == (["old"], [], 1)
        owner.ended.add("old")
        yield owner
    finally:
        consuming.stop()
    assert queue.deaths == 0


def test_what_is_new_runs_at_once_and_is_committed_once_it_and_all_before_it_is_over(queue: Queue) -> None:
    with consuming_at_once(queue) as owner:
        queue.put("a", "b", partition=0)
        queue.put("unreadable", raw=b"{", partition=0)
        queue.put("c", partition=0)
        eventually(lambda: owner.ran_at_once == ["a", "b", "c"], "all to run")
        owner.ended |= {"b", "c"}
        time.sleep(0.5)
        assert queue.committed() == 1
        owner.ended.add("a")
        eventually(lambda: queue.committed() == 5, "the commit")
    assert owner.leased == ["old"]
    assert owner.delivered == ["old"]


def test_what_takes_long_is_leased_and_holds_up_no_commits(queue: Queue) -> None:
    with consuming_at_once(queue, lease_after_s=1.0) as owner:
        queue.put("long", "short", partition=0)
        eventually(lambda: owner.ran_at_once == ["long", "short"], "both to run")
        owner.ended.add("short")
        eventually(lambda: owner.delivered == ["old", "long"], "a lease")
        assert owner.leased == ["old", "long"]
        assert owner.committed_at_delivery[1] == 3


def test_what_runs_when_the_process_stops_is_leased_and_committed_first(queue: Queue) -> None:
    with consuming_at_once(queue) as owner:
        queue.put("a", "b", partition=0)
        eventually(lambda: owner.ran_at_once == ["a", "b"], "both to run")
        owner.ended.add("b")
    assert owner.leased == ["old", "a"]
    assert queue.committed() == 3


def test_what_runs_of_partitions_that_are_revoked_is_leased_and_committed_first(queue: Queue) -> None:
    """So that the next owner of them is not given it again."""
    partitions = queue.topics.submissions.queue.partitions(queue.settings.profile)
    everything = [f"{round}-{partition}" for round in range(2) for partition in range(partitions)]
    owner, other = Owner(queue, at_once=True), Owner(queue, at_once=True)
    owner.acknowledged.set()
    other.acknowledged.set()
    first, second = queue.consumer(owner), queue.consumer(other)
    first.start()
    try:
        for round in range(2):
            for partition in range(partitions):
                queue.put(f"{round}-{partition}", partition=partition)
            eventually(lambda n=round + 1: len(owner.begun) == n * partitions, "all to run")  # type: ignore[misc]
        assert sorted(owner.ran_at_once) == everything[partitions:]
        second.start()
        try:
            eventually(lambda: len(owner.leased) > partitions, "a partition to be revoked")
            time.sleep(1)
            moved = owner.leased[partitions:]
            assert 0 < len(moved) < partitions, "only what ran of those"
            assert other.begun == []
            assert queue.committed() == partitions + len(moved)
        finally:
            second.stop()
    finally:
        first.stop()
    assert sorted(owner.leased) == everything
    assert queue.committed() == 2 * partitions
