"""What was popped is deleted, what was not stays."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from processors.store.trimming import trim
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, consumer_config
from topics.kafka.codec import Record
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings

DEADLINE_S = 60.0


class Queue:
    """The queue of submissions, without any processor, and the offsets of its group."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.family = catalogue(settings).submissions
        self.name = self.family.queue.name
        ensure_topics(settings, (self.family.queue,))
        self._producer = EventProducer(settings)
        self._group = Consumer(consumer_config(settings, self.family.work_group))

    def close(self) -> None:
        self._group.close()
        self._producer.close()

    def put(self, partition: int, *values: bytes) -> None:
        for value in values:
            record = Record(self.name, b"id", value, [])
            self._producer.produce(record, partition=partition).result(DEADLINE_S)

    def commit(self, partition: int, offset: int) -> None:
        self._group.commit(offsets=[TopicPartition(self.name, partition, offset)], asynchronous=False)

    def read(self) -> list[str | bytes | None]:
        messages = read_to_end(self.settings, self.name)
        return [m.value() for m in sorted(messages, key=lambda m: (m.partition(), m.offset()))]


@pytest.fixture
def queue(kafka: str, topic_prefix: str) -> Iterator[Queue]:
    queue = Queue(KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix))
    yield queue
    queue.close()


def test_only_what_was_popped_is_deleted(queue: Queue) -> None:
    queue.put(0, b"0", b"1", b"2")
    queue.put(1, b"3")
    queue.put(2, b"4", b"5")

    trim(queue.settings, queue.family)
    assert queue.read() == [b"0", b"1", b"2", b"3", b"4", b"5"], "nothing is committed yet"

    queue.commit(0, 2)
    queue.commit(1, 1)
    for _ in range(2):  # again changes nothing
        trim(queue.settings, queue.family)
        assert queue.read() == [b"2", b"4", b"5"]


def test_a_group_that_stands_below_what_is_left_begins_there(queue: Queue) -> None:
    queue.put(0, b"0", b"1", b"2")
    queue.commit(0, 2)
    trim(queue.settings, queue.family)
    queue.commit(0, 1)

    trim(queue.settings, queue.family)
    worker = Consumer(consumer_config(queue.settings, queue.family.work_group))
    worker.subscribe([queue.name])
    messages = worker.consume(1, DEADLINE_S)
    worker.close()

    assert [message.value() for message in messages] == [b"2"]
