"""Repair of attempts that an audit found to be neither queued nor leased."""

from topics.aggregate import Aggregate
from topics.audit.ownership import AttemptId
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.settings import KafkaSettings

_BY = "operator"
_TIMEOUT_MS = 30_000


def repair(settings: KafkaSettings, aggregate: Aggregate, stuck: list[AttemptId]) -> None:
    """Publish LeaseExpired for each attempt, so that the fold retries it or gives it up.

    Raises:
        KafkaException: the broker did not acknowledge. Another call is safe (rule 3).
    """
    events = aggregate.family.events.name
    facts = ((id, aggregate.lease_expired(attempt=attempt, checker=_BY)) for id, attempt in stuck)
    producer = EventProducer(settings, message_timeout_ms=_TIMEOUT_MS)
    try:
        sent = [producer.produce(encode_fact(events, id, fact, aggregate.facts, _BY)) for id, fact in facts]
        for acknowledgement in sent:
            acknowledgement.result()
    finally:
        producer.close()
