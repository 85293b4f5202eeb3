"""End offsets of a topic, on a real broker."""

import asyncio

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from topics.kafka.clients import EventProducer, connection
from topics.kafka.codec import Record
from topics.kafka.end_offsets import EndOffsets
from topics.settings import KafkaSettings

DEADLINE_S = 60.0


def test_the_end_of_a_topic_that_does_not_exist_yet_is_awaited(kafka: str, topic_prefix: str) -> None:
    """Otherwise a node that was asked early would take any id for unknown ever after."""
    settings, name = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix), f"{topic_prefix}late"

    async def scenario() -> None:
        ends = EndOffsets(settings, name)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ends.ask(), 1.0)
        admin = AdminClient(connection(settings))
        await asyncio.to_thread(admin.create_topics([NewTopic(name, 2, 1)])[name].result, DEADLINE_S)
        producer = EventProducer(settings)
        appended = await producer.publish(Record(name, b"a", b"1", []))
        await asyncio.to_thread(producer.close)
        found = await asyncio.wait_for(ends.ask(), DEADLINE_S)
        partition = appended.partition() or 0
        assert found == {partition: 1, 1 - partition: 0}

    asyncio.run(scenario())
