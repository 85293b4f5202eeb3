"""`TransactionalProducer` of the ports on confluent-kafka."""

from collections.abc import Mapping

from confluent_kafka import Producer, TopicPartition
from typing_extensions import override

from topics.kafka import ports
from topics.kafka.client_thread import ClientThread
from topics.kafka.clients import producer_config
from topics.kafka.codec import Record
from topics.settings import KafkaSettings

_INIT_S = 2.0
_ANSWER_S = 10.0


class ConfluentTransactionalProducer(ports.TransactionalProducer):
    """Producer of one transactional id. A thread makes the calls that wait: two for each transaction."""

    def __init__(self, settings: KafkaSettings, id: str, transaction_timeout_ms: int) -> None:
        """Prepare a producer; `id` is its transactional id without the prefix of the system."""
        self._config = producer_config(settings, message_timeout_ms=transaction_timeout_ms) | {
            "transactional.id": f"{settings.topic_prefix}{id}",
            "transaction.timeout.ms": transaction_timeout_ms,
        }
        self._thread = ClientThread("transactions")
        self._producer = Producer(self._config)
        self._is_used = False

    @override
    async def init(self) -> None:
        if self._is_used:  # a client takes its epoch once
            self._producer, self._is_used = Producer(self._config), False
        producer = self._producer
        await self._thread.call(lambda: producer.init_transactions(_INIT_S))
        self._is_used = True

    @override
    def begin(self) -> None:
        self._producer.begin_transaction()

    @override
    def produce(self, record: Record, *, partition: int = -1) -> None:
        # No `on_delivery`: a fatal error would surface inside the callback.
        self._producer.produce(record.topic, record.value, record.key, partition, headers=record.headers)

    @override
    async def send_offsets(self, topic: str, offsets: Mapping[int, int], group_metadata: object) -> None:
        producer = self._producer
        starts = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        await self._thread.call(
            lambda: producer.send_offsets_to_transaction(starts, group_metadata, _ANSWER_S)
        )

    @override
    async def commit(self) -> None:
        producer = self._producer
        await self._thread.call(lambda: producer.commit_transaction(_ANSWER_S))

    @override
    async def abort(self) -> None:
        producer = self._producer
        await self._thread.call(lambda: producer.abort_transaction(_ANSWER_S))

    @override
    def close(self) -> None:
        self._thread.stop()
