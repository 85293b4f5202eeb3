"""Folding the log again, to hold the store against it; no Kafka client here.

While the system lives, the store moves on. What it says of an id is right if it is what the log makes
of that id at any moment between two reads of the store processor's committed offsets, one before and
one after the store was read.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message
from pydantic_core import from_json

from topics.audit.past import Past
from topics.audit.subjects import Subject
from topics.kafka.codec import DecodeError, decode_fact
from topics.times import rfc3339

_NEVER = "9999"
"""After every time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An id of which the store does not say what the log says."""

    id: str
    expected: bytes | None
    """What the log makes of it; None where there is nothing."""
    found: bytes | None
    """What the store says; None where it says nothing."""


@dataclass(slots=True)
class Replay:
    """The fold of all events, by id."""

    subject: Subject
    before: Mapping[int, int]
    """By partition: the store processor had folded everything below, before the store was read."""
    after: Mapping[int, int]
    """By partition: nothing from here on was folded yet after the store was read."""
    past: Past = field(init=False)
    """The fold of everything before `after`."""
    _unseen: set[int] = field(init=False)
    """Partitions of which no event was added yet."""
    earlier: dict[str, list[bytes | None]] = field(default_factory=lambda: defaultdict(list))
    """The states that ids had between `before` and `after`, except their last."""
    waiting: set[str] = field(default_factory=set)
    """Ids with events that the store processor has not folded yet."""
    begins: str = ""
    """Append time of the first event that is left, where the beginning of the log is gone."""
    older: int = 0
    """Rows of the store that were there before, and cannot be compared."""
    events: int = 0
    unreadable: int = 0
    refused: int = 0
    """Events that changed nothing: late, of an older attempt, a conflict."""

    def __post_init__(self) -> None:
        self.past = Past(self.subject)
        self._unseen = set(self.after)

    def add(self, message: Message) -> None:
        """Take one event in, in the order of its partition."""
        partition, offset = message.partition() or 0, message.offset() or 0
        if partition in self._unseen:
            self._begin(message)
        try:
            recorded = decode_fact(message, self.subject.facts)
        except DecodeError:
            self.unreadable += 1
            return
        if offset >= self.after.get(partition, 0):
            self.waiting.add(recorded.id)
            return
        self.events += 1
        if offset >= self.before.get(partition, 0):
            self.earlier[recorded.id].append(self.past.get(recorded.id))
        if self.past.add(recorded) is not None:
            self.refused += 1

    def _begin(self, message: Message) -> None:
        """Note when the log begins, if this first event of its partition was not always the first."""
        self._unseen.discard(message.partition() or 0)
        if message.offset():
            self.begins = max(self.begins, rfc3339(message.timestamp()[1]))

    def differences(self, stored: Mapping[str, bytes]) -> list[Difference]:
        """Where the store is wrong, in the order of ids. To be called when all events were added."""
        if any(self.after[partition] for partition in self._unseen):  # every event of it is gone
            self.begins = _NEVER
        states = self.past.states
        different = [
            Difference(id, states.get(id), stored.get(id))
            for id in sorted(states.keys() | stored.keys())
            if stored.get(id) not in (states.get(id), *self.earlier.get(id, ()))
        ]
        told = [difference for difference in different if not self._is_older(difference.found)]
        self.older = len(different) - len(told)
        return told

    def _is_older(self, row: bytes | None) -> bool:
        """Whether events of a row may be gone."""
        if not self.begins or row is None:
            return False
        try:
            return bool(from_json(row)["created_at"] < self.begins)
        except (ValueError, KeyError, TypeError):
            return False
