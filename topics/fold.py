"""What both folds share: `apply(state, recorded) -> Folded`, pure, of state and event alone (rule 1)."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from topics.model import Model
from topics.times import rfc3339

StateT = TypeVar("StateT", bound=Model)
FactT = TypeVar("FactT", bound=Model, covariant=True)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[FactT]):
    """A fact as it stands on the log."""

    id: str
    """The record's key."""
    fact: FactT
    time_ms: int
    """Append time, by the broker's clock."""

    @property
    def time(self) -> str:
        """Append time as RFC 3339, UTC, with milliseconds."""
        return rfc3339(self.time_ms)

    @property
    def happened_ms(self) -> int:
        """When it happened, by the same clock."""
        ago_s = self.fact.ago_s if isinstance(self.fact, ProgressFact) else 0.0
        return self.time_ms - round(ago_s * 1000)


class ProgressFact(Model):
    """A fact of what happens on the way to an end."""

    ago_s: float = 0.0
    """How long before it was said that was: of short work nothing is said before its end."""


class QueuedWork(Model):
    """A record of `X.queue`: all that whoever takes it needs."""

    id: str
    attempt: int
    alone: bool = False
    """The last charged attempt: do it with nothing beside it, so that only the culprit is blamed."""

    @property
    def memory_bytes(self) -> int:
        """Memory that a worker must be able to give to one stage; 0 if every worker can do the work."""
        return 0


class Enqueue(NamedTuple):
    """Effect: work for the queue."""

    id: str
    work: QueuedWork


class Stop(NamedTuple):
    """Effect: whoever still works on this or an earlier attempt must stop."""

    id: str
    attempt: int


class DeadLetter(NamedTuple):
    """Effect: the event itself goes to the dead letters, since nobody else will tell its producer."""

    reason: str


class Reply(NamedTuple):
    """Effect: whoever asked is told, on the topic that they named."""

    topic: str
    id: str
    answer: str
    """JSON, as clients see it."""


class Notify(NamedTuple):
    """Effect: whoever asked is told over HTTP, by whom this record waits for."""

    id: str
    webhook: Model


Effect = Enqueue | Stop | DeadLetter | Reply | Notify


class Folded(NamedTuple, Generic[StateT]):
    """What a fact made of the state."""

    state: StateT | None
    effects: tuple[Effect, ...] = ()
    refused: str | None = None
    """Why the fact changed nothing; None where it was accepted."""
