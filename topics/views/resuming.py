"""Offsets from which a topic is read on into a local table."""

from collections.abc import Mapping

from confluent_kafka import Consumer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from topics.kafka.clients import SHORT_LIVED, connection
from topics.kafka.tail import StartAt
from topics.settings import KafkaSettings
from topics.views.table import Table

ANSWER_S = 10.0


def resuming(
    table: Table, settings: KafkaSettings, topic: str, kind: str = "", stale_after_s: float | None = None
) -> StartAt:
    """Return a function that opens `table` and returns its offsets.

    The table is recreated if it is older than `stale_after_s`, or of another topic or `kind` of rows.
    """

    def start_at(consumer: Consumer, partitions: set[int]) -> Mapping[int, int]:
        def may_resume(age_s: float, offsets: Mapping[str, int]) -> bool:
            return (stale_after_s is None or age_s <= stale_after_s) and all(
                offset <= consumer.get_watermark_offsets(TopicPartition(topic, int(p)), timeout=ANSWER_S)[1]
                for p, offset in offsets.items()
            )

        # The id differs for a topic of the same name in another cluster, and for a topic that was recreated.
        identity = f"{topic_id(settings, topic)}/{len(partitions)}{kind}"
        return {int(p): offset for p, offset in table.open(identity, may_resume).items()}

    return start_at


def topic_id(settings: KafkaSettings, topic: str) -> str:
    """Return the id of a topic, which no other topic ever has, not even one of the same name.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    admin = AdminClient(connection(settings) | SHORT_LIVED)
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)
    return str(described[topic].result().topic_id)
