"""The SubmissionStore as processes on a real broker: whatever is killed, store and queue are the fold.

What must come out is told by the log itself: `Partition`, the same pure fold, without any of the rest.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from tests.support.polling import eventually
from tests.support.roles import Process, kill, role_environment, start_role
from tests.support.submissions import STARTED, finished, request
from topics.admin import ensure_topics
from topics.catalogue import catalogue
from topics.clients import EventProducer, connection, consumer_config, producer_config
from topics.codec import Record, encode_fact
from topics.reading import read_to_end
from topics.settings import KafkaSettings
from topics.submissions.facts import (
    FACTS,
    Cancelled,
    LeaseExpired,
    Requested,
    SubmissionFact,
)
from topics.submissions.state import Submission

DEADLINE_S = 90.0
SOON_S = 10.0
SESSION_TIMEOUT_MS = 2000
REQUEST = request()


def eventually_equal(actual: Callable[[], object], expected: object) -> None:
    eventually(actual, f"it is {expected!r}", SOON_S, enough=lambda found: found == expected)


class StoreInstances:
    """Topics, producers of events, and instances of the store processor."""

    def __init__(self, kafka: KafkaSettings, folder: Path) -> None:
        self.kafka, self._folder = kafka, folder
        self.topics = catalogue(kafka)
        self.family = self.topics.submissions
        ensure_topics(kafka, self.topics.topics())
        self.store = submission_store(self.topics)
        self._admin = AdminClient(connection(kafka))
        reading = {"isolation.level": "read_uncommitted"}  # or `committed` waits for open transactions
        self._group = Consumer(consumer_config(kafka, self.store.name) | reading)
        self._producer = EventProducer(kafka)
        self._instances: list[Process] = []

    def close(self) -> None:
        kill(self._instances)
        self._group.close()
        self._producer.close()

    def start(self, slot: str = "0") -> Process:
        environment = role_environment(self.kafka, data_dir=self._folder)
        log = self._folder / f"store-{slot}.log"
        instance = start_role("submission-store", "--instance", slot, environment=environment, log=log)
        self._instances.append(instance)
        return instance

    def stop(self, instance: Process) -> None:
        instance.terminate()
        assert instance.wait(DEADLINE_S) == 0

    def say(self, *facts: tuple[str, SubmissionFact]) -> None:
        self.produce(*(encode_fact(self.family.events.name, id, fact, FACTS, "test") for id, fact in facts))

    def produce(self, *records: Record) -> None:
        acknowledgements = [self._producer.produce(record) for record in records]
        wait(acknowledgements, DEADLINE_S)
        for acknowledgement in acknowledgements:
            acknowledgement.result(0)

    def read(self, topic: str) -> list[Message]:
        return list(read_to_end(self.kafka, topic))

    def committed(self) -> int:
        """How many events the group has done with."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                [offset] = self._group.committed([TopicPartition(self.family.events.name, 0)], timeout=5)
                if not offset.error:
                    return max(0, offset.offset)
            except KafkaException:  # such as: the coordinator loads, or its broker has a lot to do
                assert time.monotonic() < deadline, "the broker does not say what is committed"

    def assigned(self, slot: str) -> bool:
        """Whether this instance has been given the events."""
        instance = f"{self.kafka.topic_prefix}{self.store.name}-{slot}"
        [future] = self._admin.describe_consumer_groups([self.kafka.topic_prefix + self.store.name]).values()
        try:
            members = future.result().members
        except KafkaException:
            return False
        return any(m.group_instance_id == instance and m.assignment.topic_partitions for m in members)

    def wait_folded(self) -> None:
        """Until all events on the log are done with."""
        events = len(self.read(self.family.events.name))
        eventually(lambda: self.committed() == events, f"{events} events to be folded")

    def rows(self) -> dict[str, bytes]:
        rows: dict[str, bytes] = {}
        for message in self.read(self.family.store.name):
            key, value = message.key(), message.value()
            assert key is not None
            id = key.decode(errors="replace")
            if value is None:
                rows.pop(id, None)
            else:
                rows[id] = value
        return rows

    def assert_store_and_queue_are_the_fold(self) -> None:
        """Byte for byte, each effect once.

        A transaction ends in one partition after the other, so a topic may show it later than the group does.
        """
        expected = Partition(self.store)
        for message in self.read(self.family.events.name):
            expected.fold(message)
        eventually_equal(self.rows, expected.states)
        for topic in (self.family.queue.name, self.topics.stops.name, self.topics.dead_letters.name):
            effects = Counter((r.key, r.value) for r in expected.out if r.topic == topic)
            eventually_equal(partial(self.effects, topic), effects)

    def effects(self, topic: str) -> Counter[tuple[object, object]]:
        """How often each record stands on this topic."""
        return Counter((message.key(), message.value()) for message in self.read(topic))


@pytest.fixture
def system(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[StoreInstances]:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=SESSION_TIMEOUT_MS
    )
    system = StoreInstances(settings, tmp_path)
    yield system
    system.close()


def life(id: str) -> list[tuple[str, SubmissionFact]]:
    """What may happen to a submission: two attempts, late facts, and a cancellation that comes too late."""
    facts = (
        REQUEST,
        STARTED,
        LeaseExpired(attempt=1, checker="c"),
        finished(attempt=1),
        finished(attempt=2),
        finished(attempt=2),
        Cancelled(),
    )
    return [(id, fact) for fact in facts]


def lives(name: str, count: int) -> list[tuple[str, SubmissionFact]]:
    """Many of them, each step of all before the next."""
    steps = zip(*(life(f"{name}-{number}") for number in range(count)), strict=True)
    return [fact for step in steps for fact in step]


def test_state_queue_and_offsets_are_one_transaction(system: StoreInstances) -> None:
    system.start()
    system.say(*life("a"), ("b", REQUEST))
    system.produce(
        Record(system.family.events.name, b"a", b"{", [("ce_type", b"envicutor.submission.finished.v1")]),
        Record(system.family.events.name, None, b"\xff", []),
    )
    conflict: Requested = REQUEST.replace(content_hash="other")
    system.say(("a", conflict), ("b", Cancelled()))
    system.wait_folded()

    system.assert_store_and_queue_are_the_fold()
    assert {id: Submission.model_validate_json(row).status for id, row in system.rows().items()} == {
        "a": "finished",
        "b": "cancelled",
    }
    letters = system.read(system.topics.dead_letters.name)
    assert sorted(message.value() or b"" for message in letters)[::2] == [b"{", b"\xff"]


def test_another_instance_takes_over_from_a_killed_one(system: StoreInstances) -> None:
    first = system.start("0")
    for part in range(10):
        system.say(*lives(f"before-{part}", 30))
    eventually(lambda: system.committed() > 0, "the first commit")
    first.kill()
    first.wait()
    done = system.committed()
    system.say(*lives("after", 30))

    system.start("1")
    system.wait_folded()

    assert 0 < done < system.committed()
    system.assert_store_and_queue_are_the_fold()


def test_a_paused_instance_is_fenced_and_takes_over_again_without_its_memory(system: StoreInstances) -> None:
    known = lives("known", 10)
    zombie = system.start("0")
    system.say(*known[:20])
    system.wait_folded()
    system.say(*lives("while-it-stops", 100))
    eventually(lambda: system.committed() > 20, "a commit of what it stops in")
    zombie.send_signal(signal.SIGSTOP)
    successor = system.start("1")
    system.say(*known[20:])
    system.wait_folded()

    zombie.send_signal(signal.SIGCONT)
    system.say(*lives("after", 30))
    system.wait_folded()
    system.stop(successor)
    if zombie.poll() is not None:  # as its supervisor would
        system.start("0")
    system.say(*known[20:])  # which would make new attempts of what the zombie knew
    system.wait_folded()

    system.assert_store_and_queue_are_the_fold()


def test_a_restore_waits_for_transactions_below_what_is_committed(system: StoreInstances) -> None:
    """A reader at the last stable offset sees too little of the store, and would fold on an old state."""
    first = system.start()
    system.say(("a", REQUEST))
    system.wait_folded()
    somebody = Producer(
        producer_config(system.kafka, message_timeout_ms=5000)
        | {"transactional.id": system.kafka.topic_prefix + "somebody", "transaction.timeout.ms": 60_000}
    )
    somebody.init_transactions(DEADLINE_S)
    somebody.begin_transaction()
    somebody.produce(system.family.store.name, b"never committed", b"a", 0)
    assert somebody.flush(DEADLINE_S) == 0
    system.say(("a", LeaseExpired(attempt=1, checker="c")))
    eventually(lambda: system.committed() == 2, "a commit above the open transaction")
    system.stop(first)

    system.start("1")
    eventually(lambda: system.assigned("1"), "the assignment to the next instance")
    system.say(("a", finished(attempt=2)))
    folded_meanwhile = watch(lambda: system.committed() > 2, 2.0)
    somebody.abort_transaction(DEADLINE_S)
    system.wait_folded()

    assert not folded_meanwhile
    assert Submission.model_validate_json(system.rows()["a"]).status == "finished"
    system.assert_store_and_queue_are_the_fold()


def test_its_process_trims_the_queue(system: StoreInstances) -> None:
    queue = system.family.queue.name
    system.produce(*(Record(queue, b"id", b"popped", []) for _ in range(3)))
    [partition] = {message.partition() or 0 for message in system.read(queue)}
    workers = Consumer(consumer_config(system.kafka, system.family.work_group))
    workers.commit(offsets=[TopicPartition(queue, partition, 3)], asynchronous=False)
    workers.close()

    system.start()

    eventually(lambda: not system.read(queue), "the queue to be trimmed")


def watch(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False
