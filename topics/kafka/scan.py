"""Functions that read a whole topic once, from its beginning to its present end."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from topics.kafka.clients import READER, SHORT_LIVED, connection, consume_batch, consumer_config
from topics.kafka.records import position
from topics.settings import KafkaSettings

_BATCH = 1000
_READ_AHEAD = {"queued.max.messages.kbytes": 8 * 1024}
"""Bound on fetched records that wait in memory, for processes that go on after the scan."""
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
    with closing(_reader(settings)) as consumer:
        found = partitions(consumer, topic)
        first = {partition: (starts or {}).get(partition, OFFSET_BEGINNING) for partition in found}
        yield from _read(consumer, topic, first)


def read_below(settings: KafkaSettings, topic: str, ends: Mapping[int, int]) -> Iterator[Message]:
    """Yield the committed records of `topic` below these offsets; wait for the end of open transactions.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    starts = {partition: OFFSET_BEGINNING for partition, end in ends.items() if end > 0}
    with closing(_reader(settings, _READ_AHEAD)) as consumer:
        yield from _read(consumer, topic, starts, ends)


def _reader(settings: KafkaSettings, more: Mapping[str, int] | None = None) -> Consumer:
    options = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
    return Consumer(consumer_config(settings, READER) | SHORT_LIVED | options | dict(more or {}))


def _read(
    consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int] | None = None
) -> Iterator[Message]:
    """Yield records from `starts` on, up to `ends` or to the end of each partition."""
    unread = set(starts)
    consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
    while unread:
        for message in consume_batch(consumer, _BATCH, 10.0):
            error, (partition, offset) = message.error(), position(message)
            end = ends[partition] if ends is not None else None
            if error is None:
                offset += 1
                if end is None or offset <= end:
                    yield message
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # The offset of an EOF counts transaction markers and aborted records, the last record's does not.
            if (error is not None) if end is None else (offset >= end):
                unread.discard(partition)


def stored_ends(settings: KafkaSettings, topic: str, numbers: Collection[int]) -> dict[int, int]:
    """Return the end of each partition, open transactions included.

    Raises:
        KafkaException: the broker or the topic is not there, or an end is not known at the moment.
    """
    admin = AdminClient(connection(settings) | SHORT_LIVED)
    futures = admin.list_offsets(
        {TopicPartition(topic, number): OffsetSpec.latest() for number in numbers},
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=10,
    )
    ends = {tp.partition: future.result().offset for tp, future in futures.items()}
    if min(ends.values(), default=0) < 0:  # a new leader whose high watermark is behind (KIP-207)
        raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
    return ends


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
