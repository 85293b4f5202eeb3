"""The log folded up to any moment: the stores at that time, and each event with the fold's reaction."""

import json
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from topics.aggregate import Aggregate
from topics.audit.history import AuditedEvent, event_of
from topics.audit.ownership import AttemptId
from topics.fold import Owed, Recorded
from topics.kafka.codec import DecodeError, decode_fact, encode
from topics.model import Model

_PARSED = 256
"""Most states that are kept as models; each may have some MiB."""


class ExportedEvent(AuditedEvent):
    """An event with its fact, for other tools."""

    subject: str
    """Aggregate of the event: `submissions` or `dependencies`."""
    id: str
    fact: dict[str, Any] | None
    """Value of the event; None if it cannot be decoded."""


@dataclass(slots=True)
class FoldedStates:
    """States by id, folded from the events added so far."""

    aggregate: Aggregate
    _encoded: dict[str, bytes] = field(default_factory=dict)
    _parsed: dict[str, Model] = field(default_factory=dict)
    """States newer than `_encoded`; events of one id are close together, so most are never encoded."""

    _attempts: dict[str, int | None] = field(default_factory=dict)
    owed: dict[str, Owed] = field(default_factory=dict)
    """Ids whose attempt the store processor enqueues in its turn, or if no worker has it soon."""

    def add(self, recorded: Recorded[Any]) -> str | None:
        """Fold an event, in the order of its partition. Return why it changes nothing, or None if it does."""
        folded = self.aggregate.apply(self._state(recorded.id), recorded)
        if folded.state is not None and folded.refused is None:
            if len(self._parsed) >= _PARSED:
                self._encode()
            self._parsed[recorded.id] = folded.state
            self._attempts[recorded.id] = None if folded.state.final else folded.state.attempt
            self.owed.pop(recorded.id, None)
            if owed := self.aggregate.owed(folded.state):
                self.owed[recorded.id] = owed
        return folded.refused

    def get(self, id: str) -> bytes | None:
        """Return the row of `id` in the store, byte for byte, or None if there is none."""
        state = self._parsed.get(id)
        return self._encoded.get(id) if state is None else encode(state)

    @property
    def states(self) -> Mapping[str, bytes]:
        """Every row of the store, byte for byte."""
        self._encode()
        return self._encoded

    @property
    def unfinished(self) -> set[AttemptId]:
        """Present attempts of all ids whose state is not final."""
        return {(id, attempt) for id, attempt in self._attempts.items() if attempt is not None}

    @property
    def ids(self) -> Set[str]:
        """All ids with an accepted event."""
        return self._attempts.keys()

    def _state(self, id: str) -> Model | None:
        state, raw = self._parsed.get(id), self._encoded.get(id)
        return self.aggregate.state.read(raw) if state is None and raw else state

    def _encode(self) -> None:
        self._encoded.update((id, encode(state)) for id, state in self._parsed.items())
        self._parsed.clear()


def stores_at(aggregate: Aggregate, messages: Iterable[Message], time_ms: int) -> Mapping[str, bytes]:
    """Return the rows of the store by id, folded from the events until `time_ms`."""
    folded = FoldedStates(aggregate)
    for message in messages:
        if message.timestamp()[1] > time_ms:
            continue
        try:
            folded.add(decode_fact(message, aggregate.facts))
        except DecodeError:
            continue  # it is a dead letter
    return folded.states


def export(
    aggregate: Aggregate, messages: Iterable[Message], from_ms: int, to_ms: int
) -> Iterator[ExportedEvent]:
    """Yield the events that were appended from `from_ms` until before `to_ms`.

    `messages` begin with the log, as the fold's reaction to an event depends on earlier ones.
    """
    folded = FoldedStates(aggregate)
    for message in messages:
        try:
            recorded = decode_fact(message, aggregate.facts)
        except DecodeError as error:
            event = event_of(message, None, f"unreadable: {error}")
        else:
            event = event_of(message, recorded.fact, folded.add(recorded))
        if from_ms <= message.timestamp()[1] < to_ms:
            yield _exported(aggregate, message, event)


def _exported(aggregate: Aggregate, message: Message, event: AuditedEvent) -> ExportedEvent:
    key, readable = message.key() or b"", not (event.refused or "").startswith("unreadable")
    return ExportedEvent(
        **event.model_dump(),
        subject=aggregate.name,
        id=key.decode(errors="backslashreplace") if isinstance(key, bytes) else key,
        fact=json.loads(message.value() or b"null") if readable else None,
    )
