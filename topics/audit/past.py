"""The log folded up to any moment: the stores as they were, and each event with what became of it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from topics.audit.history import Event, event_of
from topics.audit.subjects import Subject
from topics.codec import UndecodableError, decode_fact, encode
from topics.fold import Recorded


class ExportedEvent(Event):
    """An event for those who ask with tools of their own."""

    subject: str
    """`submissions` or `dependencies`."""
    id: str
    fact: dict[str, Any] | None
    """What it says; None where nobody can read it."""


@dataclass(slots=True)
class Past:
    """The fold of events until now, by id."""

    subject: Subject
    states: dict[str, bytes] = field(default_factory=dict)
    """As they stood in the store, byte for byte."""

    def add(self, recorded: Recorded[Any]) -> str | None:
        """Take an event in, in the order of its partition; why it changes nothing, None where it does."""
        raw = self.states.get(recorded.id)
        folded = self.subject.apply(raw and self.subject.state.read(raw), recorded)
        if folded.state is not None and folded.refused is None:
            self.states[recorded.id] = encode(folded.state)
        return folded.refused


def stores_at(subject: Subject, messages: Iterable[Message], time_ms: int) -> dict[str, bytes]:
    """The rows of the store by id, as the events until `time_ms` make them."""
    past = Past(subject)
    for message in messages:
        if message.timestamp()[1] > time_ms:
            continue
        try:
            past.add(decode_fact(message, subject.facts))
        except UndecodableError:
            continue  # it is a dead letter
    return past.states


def export(
    subject: Subject, messages: Iterable[Message], from_ms: int, to_ms: int
) -> Iterator[ExportedEvent]:
    """The events that were appended from `from_ms` until before `to_ms`.

    `messages` start with the log: what became of an event depends on those before it.
    """
    past = Past(subject)
    for message in messages:
        try:
            recorded = decode_fact(message, subject.facts)
        except UndecodableError as error:
            event = event_of(message, None, f"unreadable: {error}")
        else:
            event = event_of(message, recorded.fact, past.add(recorded))
        if from_ms <= message.timestamp()[1] < to_ms:
            yield _exported(subject, message, event)


def _exported(subject: Subject, message: Message, event: Event) -> ExportedEvent:
    key, readable = message.key() or b"", not (event.refused or "").startswith("unreadable")
    return ExportedEvent(
        **event.model_dump(),
        subject=subject.name,
        id=key.decode(errors="backslashreplace") if isinstance(key, bytes) else key,
        fact=json.loads(message.value() or b"null") if readable else None,
    )
