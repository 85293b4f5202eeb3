"""Storing API keys on their topic."""

import uuid

from topics.catalogue import catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event, encode
from topics.security.api_keys import STORED, ApiKey
from topics.settings import KafkaSettings

_ACKNOWLEDGE_MS = 30_000


def put_key(kafka: KafkaSettings, hashed: str, record: ApiKey) -> None:
    """Store what is known of a key under its digest `hashed`, in place of what was known before.

    Raises:
        KafkaException: the broker has not acknowledged it within 30 s.
    """
    headers = cloud_event(STORED, uuid.uuid4().hex, record.id, "keys")
    producer = EventProducer(kafka, message_timeout_ms=_ACKNOWLEDGE_MS)
    try:
        producer.produce(Record(catalogue(kafka).api_keys.name, hashed, encode(record), headers)).result()
    finally:
        producer.close()
