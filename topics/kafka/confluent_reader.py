"""`Reader` of the ports on confluent-kafka."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from typing_extensions import override

from topics.kafka import ports
from topics.kafka.client_thread import ClientThread
from topics.kafka.clients import READER, connection, consume_batch, consumer_config
from topics.settings import KafkaSettings

_ANSWER_S = 10.0
_METADATA_S = 5.0
_RETRY_S = 0.1


class ConfluentReader(ports.Reader):
    """Reader of one topic. One thread polls; it is not used all the time, so it has no liveness check."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        """Connect to the brokers.

        Raises:
            KafkaException: the brokers did not answer.
        """
        self._connection, self._topic = connection(settings), topic
        self._admin = AdminClient(self._connection)
        options = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
        self._consumer = Consumer(consumer_config(settings, READER) | options)
        self._thread = ClientThread(f"read-{topic}")
        # Without metadata the first read takes 500 ms more.
        self._consumer.list_topics(topic, _ANSWER_S)

    @override
    async def end_offsets(self, partitions: Collection[int], topic: str | None = None) -> Mapping[int, int]:
        futures = self._admin.list_offsets(
            {TopicPartition(topic or self._topic, p): OffsetSpec.latest() for p in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_ANSWER_S,
        )
        ends = {tp.partition: (await asyncio.wrap_future(f)).offset for tp, f in futures.items()}
        if min(ends.values(), default=0) < 0:
            # A new leader whose high watermark is behind (KIP-207): taken for an end, it would hide all rows.
            raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        return ends

    @override
    async def reconnect(self) -> None:
        # A client may keep stale leader epochs, or time out for ever after a restart.
        self._admin = admin = AdminClient(self._connection)
        try:
            await self._thread.call(lambda: admin.list_topics(timeout=_METADATA_S))
        except KafkaException:
            await asyncio.sleep(_RETRY_S)

    @override
    def assign(self, offsets: Mapping[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._topic, p, offset) for p, offset in offsets.items()])

    @override
    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        return await self._thread.call(lambda: consume_batch(self._consumer, max_records, timeout_s))

    @override
    async def close(self) -> None:
        with suppress(RuntimeError):  # it is closed already
            await self._thread.call(self._consumer.close)
        self._thread.stop()
