"""End offsets of a topic at this moment."""

import asyncio
import logging

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from topics.kafka.clients import connection
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.1
_ANSWER_S = 2.0


class EndOffsets:
    """Client that asks the broker for the end offsets of one topic."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._connection, self._topic = connection(settings), topic
        self._admin: AdminClient | None = None
        self._partitions: list[TopicPartition] = []

    async def ask(self) -> dict[int, int]:
        """Return the offset after the last record of each partition; ask until the broker answers."""
        logged = ""
        while True:
            try:
                return await self._ask()
            except KafkaException as error:
                if str(error) != logged:
                    logged = str(error)
                    log.info("the end offsets of %s are not known yet: %s", self._topic, logged)
                self._admin = None  # after a broker's restart a client may repeat the same error for ever
                await asyncio.sleep(_ASK_AGAIN_S)

    async def _ask(self) -> dict[int, int]:
        # Keep the client referenced, as another call may replace it: one that is garbage collected never
        # completes its requests.
        if (admin := self._admin) is None:
            admin = AdminClient(self._connection)
            metadata = await asyncio.to_thread(admin.list_topics, self._topic, _ANSWER_S)
            topic = metadata.topics[self._topic]
            if topic.error or not topic.partitions:
                raise KafkaException(topic.error or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            self._partitions = [TopicPartition(self._topic, p) for p in topic.partitions]
            self._admin = admin
        asked = dict.fromkeys(self._partitions, OffsetSpec.latest())
        futures = admin.list_offsets(asked, request_timeout=_ANSWER_S)
        ends = {tp.partition: (await asyncio.wrap_future(f)).offset for tp, f in futures.items()}
        if min(ends.values(), default=0) < 0:  # a new leader whose high watermark is behind (KIP-207)
            raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        return ends
