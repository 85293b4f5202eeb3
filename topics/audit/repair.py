"""Getting going again what an audit found to be nobody's."""

from topics.audit.ownership import Attempt
from topics.audit.subjects import Subject
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.settings import KafkaSettings

_BY = "operator"
_TIMEOUT_MS = 30_000


def repair(settings: KafkaSettings, subject: Subject, stuck: list[Attempt]) -> None:
    """Say of each attempt that its lease expired: the fold makes of it what it makes of a dead worker's.

    Raises:
        KafkaException: the broker did not acknowledge; the same call again is safe (rule 3).
    """
    events = subject.family.events.name
    facts = ((id, subject.lease_expired(attempt=attempt, checker=_BY)) for id, attempt in stuck)
    producer = EventProducer(settings, message_timeout_ms=_TIMEOUT_MS)
    try:
        said = [producer.produce(encode_fact(events, id, fact, subject.facts, _BY)) for id, fact in facts]
        for acknowledgement in said:
            acknowledgement.result()
    finally:
        producer.close()
