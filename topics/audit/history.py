"""Everything that happened to one submission, or one set of dependencies, and what the fold made of it."""

from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import Message

from topics.audit.subjects import Subject
from topics.kafka.codec import DecodeError, decode_fact, header
from topics.kafka.scan import read_to_end
from topics.model import Model
from topics.settings import KafkaSettings
from topics.times import rfc3339


class AuditedEvent(Model):
    """One record of `X.events`."""

    time: str
    """Append time."""
    type: str
    """Its CloudEvents type."""
    source: str
    """Who said it."""
    attempt: int | None
    worker: str | None
    """The worker, builder or health checker that it names."""
    refused: str | None
    """Why it changed nothing; None where it was accepted."""
    offset: str
    """Where it stands: `topic/partition/offset`."""

    @property
    def verdict(self) -> str:
        """`accepted`, or `refused: why`."""
        return "accepted" if self.refused is None else f"refused: {self.refused}"


def read_history(settings: KafkaSettings, subject: Subject, id: str) -> list[AuditedEvent]:
    """The history of `id`, empty where nothing ever happened to it.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    key = id.encode()
    messages = read_to_end(settings, subject.family.events.name)
    return list(history(subject, (message for message in messages if message.key() == key)))


def history(subject: Subject, messages: Iterable[Message]) -> Iterator[AuditedEvent]:
    """Fold the events of one id, all of them in their order."""
    state: Any = None
    for message in messages:
        try:
            recorded = decode_fact(message, subject.facts)
        except DecodeError as error:
            yield event_of(message, None, f"unreadable: {error}")
            continue
        folded = subject.apply(state, recorded)
        if folded.refused is None:
            state = folded.state
        yield event_of(message, recorded.fact, folded.refused)


def event_of(message: Message, fact: Model | None, refused: str | None) -> AuditedEvent:
    """What an audit shows of a record of `X.events`; `fact` is None where nobody can read it."""
    names = (getattr(fact, name, None) for name in ("worker", "builder", "checker"))
    return AuditedEvent(
        time=rfc3339(message.timestamp()[1]),
        type=header(message, "ce_type") or "",
        source=header(message, "ce_source") or "",
        attempt=getattr(fact, "attempt", None),
        worker=next(filter(None, names), None),
        refused=refused,
        offset=f"{message.topic()}/{message.partition()}/{message.offset()}",
    )
