"""All events of one submission or one set of dependencies, with the fold's reaction to each."""

from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import Message

from topics.aggregate import Aggregate
from topics.kafka.codec import DecodeError, decode_fact, header
from topics.kafka.scan import read_to_end
from topics.model import Model
from topics.settings import KafkaSettings
from topics.times import rfc3339


class AuditedEvent(Model):
    """One record of `X.events`, as audits show it."""

    time: str
    """Append time: RFC 3339, UTC."""
    type: str
    """CloudEvents type of the event."""
    source: str
    """CloudEvents source: the component that published the event."""
    attempt: int | None
    worker: str | None
    """Worker, cache builder or health checker that the event names."""
    refused: str | None
    """Reason why the event changed nothing; None if it was accepted."""
    offset: str
    """Position of the event: `topic/partition/offset`."""

    @property
    def disposition(self) -> str:
        """`accepted`, or `refused: ` with the reason."""
        return "accepted" if self.refused is None else f"refused: {self.refused}"


def read_history(settings: KafkaSettings, aggregate: Aggregate, id: str) -> list[AuditedEvent]:
    """Return the history of `id`, which is empty if the log has no event of it.

    Raises:
        KafkaException: the broker or the topic is not there.
    """
    key = id.encode()
    messages = read_to_end(settings, aggregate.family.events.name)
    return list(history(aggregate, (message for message in messages if message.key() == key)))


def history(aggregate: Aggregate, messages: Iterable[Message]) -> Iterator[AuditedEvent]:
    """Fold all events of one id in their order, and yield each with the fold's reaction."""
    state: Any = None
    for message in messages:
        try:
            recorded = decode_fact(message, aggregate.facts)
        except DecodeError as error:
            yield event_of(message, None, f"unreadable: {error}")
            continue
        folded = aggregate.apply(state, recorded)
        state = folded.state  # of a refused fact the same state as before
        yield event_of(message, recorded.fact, folded.refused)


def event_of(message: Message, fact: Model | None, refused: str | None) -> AuditedEvent:
    """Return the description of a record of `X.events`; `fact` is None if it cannot be decoded."""
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
