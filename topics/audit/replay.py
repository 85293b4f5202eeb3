"""Comparison of a store with the log, which is folded again. No Kafka client here.

While the system runs, the store changes. The store processor's committed offsets are read before and after
the store. A row is right if it equals the folded state of its id at any moment between the two.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message
from pydantic_core import from_json

from topics.aggregate import Aggregate
from topics.audit.folded_states import FoldedStates
from topics.kafka.codec import DecodeError, decode_fact
from topics.kafka.records import position
from topics.times import rfc3339

_NEVER = "9999"
"""A text that sorts after every time in RFC 3339."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An id whose row in the store is not the state folded from the log."""

    id: str
    expected: bytes | None
    """Row folded from the log; None if the log has no event of the id."""
    found: bytes | None
    """Row in the store; None if there is none."""


@dataclass(slots=True)
class Replay:
    """The fold of all events, by id."""

    aggregate: Aggregate
    before: Mapping[int, int]
    """Committed offsets by partition before the store was read: the store contains all events below."""
    after: Mapping[int, int]
    """Committed offsets by partition after the store was read: the store contains no event from here on."""
    folded: FoldedStates = field(init=False)
    """States folded from all events before `after`."""
    _unseen: set[int] = field(init=False)
    """Partitions of which no event was added yet."""
    earlier: dict[str, list[bytes | None]] = field(default_factory=lambda: defaultdict(list))
    """States of ids between `before` and `after`, except the last one of each."""
    waiting: set[str] = field(default_factory=set)
    """Ids with events that the store processor has not folded yet."""
    begins: str = ""
    """Append time of the first remaining event, if the beginning of the log was deleted; else empty."""
    rows_before_log_start: int = 0
    """Rows of the store from before `begins`, which cannot be compared."""
    events: int = 0
    unreadable: int = 0
    refused: int = 0
    """Events that changed nothing: late, of an older attempt, a conflict."""

    def __post_init__(self) -> None:
        self.folded = FoldedStates(self.aggregate)
        self._unseen = set(self.after)

    def add(self, message: Message) -> None:
        """Fold one event, in the order of its partition."""
        partition, offset = position(message)
        if partition in self._unseen:
            self._begin(partition, message)
        try:
            recorded = decode_fact(message, self.aggregate.facts)
        except DecodeError:
            self.unreadable += 1
            return
        if offset >= self.after.get(partition, 0):
            self.waiting.add(recorded.id)
            return
        self.events += 1
        if offset >= self.before.get(partition, 0):
            self.earlier[recorded.id].append(self.folded.get(recorded.id))
        if self.folded.add(recorded) is not None:
            self.refused += 1

    def _begin(self, partition: int, message: Message) -> None:
        """Note when the log begins, if this first event of its partition was not always the first."""
        self._unseen.discard(partition)
        if message.offset():
            self.begins = max(self.begins, rfc3339(message.timestamp()[1]))

    def differences(self, stored: Mapping[str, bytes]) -> list[Difference]:
        """Return the rows that are wrong, in the order of ids. Call it after all events were added."""
        if any(self.after[partition] for partition in self._unseen):  # every event of it is gone
            self.begins = _NEVER
        states = self.folded.states
        different = [
            Difference(id, states.get(id), stored.get(id))
            for id in sorted(states.keys() | stored.keys())
            if stored.get(id) not in (states.get(id), *self.earlier.get(id, ()))
        ]
        wrong = [difference for difference in different if not self._is_before_log_start(difference.found)]
        self.rows_before_log_start = len(different) - len(wrong)
        return wrong

    def _is_before_log_start(self, row: bytes | None) -> bool:
        """Return whether events of a row may have been deleted."""
        if not self.begins or row is None:
            return False
        try:
            return bool(from_json(row)["created_at"] < self.begins)
        except (ValueError, KeyError, TypeError):
            return False
