"""Functions that read a whole topic once, from its beginning to its present end."""

import time
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from topics.kafka.clients import READER, SHORT_LIVED, consume_batch, consumer_config
from topics.kafka.records import position
from topics.settings import KafkaSettings

_BATCH = 1000
_NEWS_S = 5.0
"""Ten times what metadata of a new topic takes from one broker to another."""


def read_to_end(
    settings: KafkaSettings, topic: str, starts: dict[int, int] | None = None
) -> Iterator[Message]:
    """Yield every committed record of `topic`, in the order of each partition.

    Partitions that are not in `starts` are read from the beginning.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    consumer = Consumer(
        consumer_config(settings, READER)
        | SHORT_LIVED
        | {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
    )
    try:
        unread = partitions(consumer, topic)
        consumer.assign([TopicPartition(topic, p, (starts or {}).get(p, OFFSET_BEGINNING)) for p in unread])
        while unread:
            for message in consume_batch(consumer, _BATCH, 10.0):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(position(message).partition)
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def partitions(consumer: Consumer, topic: str) -> set[int]:
    """Return the partitions of a topic that may have just been created.

    One of several brokers may know a new topic later than the others, so it is asked again for a while.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    deadline = time.monotonic() + _NEWS_S
    while True:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        if metadata.error is None and metadata.partitions:
            return set(metadata.partitions)
        if time.monotonic() > deadline:
            raise KafkaException(metadata.error or KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        time.sleep(0.1)


def committed_offsets(
    settings: KafkaSettings, group: str, topic: str, timeout_s: float = 30.0
) -> dict[int, int]:
    """Return a group's committed offset by partition; wait for offsets of pending transactions.

    Raises:
        KafkaException: the coordinator did not answer within `timeout_s`; until then it is asked again,
            since it may be loading (COORDINATOR_LOAD_IN_PROGRESS) or be another one now (NOT_COORDINATOR).
    """
    deadline = time.monotonic() + timeout_s
    consumer = Consumer(consumer_config(settings, group) | SHORT_LIVED)
    try:
        asked = [TopicPartition(topic, partition) for partition in partitions(consumer, topic)]
        while True:
            try:
                return _offsets(consumer.committed(asked, timeout=5))
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
    finally:
        consumer.close()


def _offsets(found: list[TopicPartition]) -> dict[int, int]:
    for tp in found:
        if tp.error:  # errors come per partition, not as an exception
            raise KafkaException(tp.error)
    return {tp.partition: max(tp.offset, 0) for tp in found}
