"""Instances of the SubmissionStore on a real broker, and what must come out: the fold of the log."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from tests.support.polling import eventually
from tests.support.roles import Process, kill, role_environment, start_role
from tests.support.submissions import STARTED, finished, request
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection, consumer_config
from topics.kafka.codec import Record, encode_fact
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings
from topics.submissions.facts import (
    FACTS,
    Cancelled,
    LeaseExpired,
    SubmissionFact,
)

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
