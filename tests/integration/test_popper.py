"""Popping a queue on a real broker: what is delivered is leased and committed, what is not comes again."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from confluent_kafka import Message

from processors.work.popper import Popper
from topics.admin import ensure_topics
from topics.catalogue import catalogue
from topics.clients import EventProducer
from topics.codec import Record, encode
from topics.leases import StopOrder
from topics.reading import committed_offsets, read_to_end
from topics.settings import KafkaSettings

DEADLINE_S = 60.0
GROUP = "workers"


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Queue:
    """A queue, of which any model may be the work."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings, self.topics = settings, catalogue(settings)
        self.name = self.topics.submissions.queue.name
        ensure_topics(settings, (self.topics.submissions.queue, self.topics.dead_letters))
        self.producer = EventProducer(settings)
        self.deaths = 0

    def put(self, *ids: str, raw: bytes | None = None) -> None:
        for id in ids:
            value = raw or encode(StopOrder(id=id, attempt=1))
            self.producer.produce(Record(self.name, id.encode(), value, [])).result(DEADLINE_S)

    def committed(self) -> int:
        return sum(committed_offsets(self.settings, GROUP, self.name).values())

    def popper(self, owner: "Owner") -> Popper[StopOrder]:
        def died() -> None:
            self.deaths += 1

        return Popper(
            self.settings,
            queue=self.name,
            dead_letters=self.topics.dead_letters.name,
            group=GROUP,
            model=StopOrder,
            owner=owner,
            producer=self.producer,
            on_death=died,
        )

    def close(self) -> None:
        self.producer.close()


class Owner:
    """A worker that says what happened, and acknowledges when it is told to."""

    def __init__(self, queue: Queue, places: int = 100) -> None:
        self._queue, self.places = queue, places
        self.begun: list[str] = []
        self.delivered: list[str] = []
        self.committed_at_delivery: list[int] = []
        self.acknowledged = threading.Event()

    def room(self) -> int:
        return self.places - len(self.begun)

    def begin(self, work: StopOrder) -> "list[Future[Message]]":
        self.begun.append(work.id)
        future: Future[Message] = Future()

        def acknowledge() -> None:
            self.acknowledged.wait(DEADLINE_S)
            future.set_result(Message())

        threading.Thread(target=acknowledge).start()
        return [future]

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
    popper = queue.popper(owner)
    popper.start()
    try:
        queue.put("a")
        wait_for(lambda: owner.begun == ["a"], "the record to be taken")
        assert (queue.committed(), owner.delivered) == (0, [])
        owner.acknowledged.set()
        wait_for(lambda: owner.delivered, "the delivery")
        assert owner.committed_at_delivery == [1]
    finally:
        owner.acknowledged.set()
        popper.stop()


def test_no_more_is_taken_than_there_is_room_for_and_the_rest_is_for_others(queue: Queue) -> None:
    ids = [f"id-{number}" for number in range(20)]
    queue.put(*ids)
    full, other = Owner(queue, places=3), Owner(queue)
    full.acknowledged.set()
    other.acknowledged.set()
    first, second = queue.popper(full), queue.popper(other)
    first.start()
    try:
        wait_for(lambda: len(full.delivered) == 3, "three deliveries")
        second.start()
        try:
            wait_for(lambda: other.delivered, "a share for the other")
            assert len(full.delivered) == 3
            full.places = 100
            first.wake()
            wait_for(lambda: len(full.delivered) + len(other.delivered) == 20, "the rest")
        finally:
            second.stop()
    finally:
        first.stop()
    assert sorted(full.delivered + other.delivered) == sorted(ids), "each once"
    assert queue.committed() == 20
    assert queue.deaths == 0


def test_partitions_that_were_lost_while_paused_are_popped_when_they_come_back(queue: Queue) -> None:
    first, second = Owner(queue, places=1), Owner(queue)
    first.acknowledged.set()
    second.acknowledged.set()
    queue.put("first")
    full, other = queue.popper(first), queue.popper(second)
    full.start()
    try:
        wait_for(lambda: first.delivered, "a delivery")
        other.start()  # a full worker answers the rebalance from paused partitions
        queue.put(*(f"share-{number}" for number in range(20)))
        wait_for(lambda: second.delivered, "a share for the other")
        first.places = 100
        full.wake()
        other.stop()
        ids = [f"after-{number}" for number in range(20)]
        queue.put(*ids)
        wait_for(lambda: set(ids) <= set(first.delivered), "everything that comes afterwards")
    finally:
        full.stop()


def test_unreadable_work_goes_to_the_dead_letters_and_the_queue_goes_on(queue: Queue) -> None:
    owner = Owner(queue)
    owner.acknowledged.set()
    queue.put("a", raw=b"{")
    queue.put("a", "b")
    popper = queue.popper(owner)
    popper.start()
    try:
        wait_for(lambda: len(owner.delivered) == 2, "two deliveries")
    finally:
        popper.stop()
    assert sorted(owner.delivered) == ["a", "b"]
    assert queue.committed() == 3
    [letter] = read_to_end(queue.settings, queue.topics.dead_letters.name)
    assert (letter.key(), letter.value()) == (b"a", b"{")


def test_what_a_lost_worker_had_committed_is_not_delivered_again(queue: Queue) -> None:
    """Nor is anything else lost: the next one goes on right behind it."""
    queue.put("a", "b")
    first = Owner(queue, places=1)
    first.acknowledged.set()
    popper = queue.popper(first)
    popper.start()
    wait_for(lambda: first.delivered, "a delivery")
    popper.stop()
    second = Owner(queue)
    second.acknowledged.set()
    popper = queue.popper(second)
    popper.start()
    try:
        wait_for(lambda: len(first.delivered) + len(second.delivered) == 2, "the other record")
    finally:
        popper.stop()
    assert sorted(first.delivered + second.delivered) == ["a", "b"]
