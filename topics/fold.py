"""Types of both folds: `apply(state, recorded) -> Folded`, a pure function of state and event (rule 1)."""

from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from topics.model import Model
from topics.times import rfc3339

StateT = TypeVar("StateT", bound=Model)
FactT = TypeVar("FactT", bound=Model, covariant=True)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[FactT]):
    """A fact with the key and the append time of its record."""

    id: str
    """Key of the record: the id of the submission or environment."""
    fact: FactT
    time_ms: int
    """Append time by the broker's clock: Unix time in milliseconds."""

    @property
    def time(self) -> str:
        """Append time as RFC 3339, UTC, with milliseconds."""
        return rfc3339(self.time_ms)

    @property
    def happened_ms(self) -> int:
        """Time at which the fact happened, by the same clock: Unix time in milliseconds."""
        ago_s = self.fact.ago_s if isinstance(self.fact, ProgressFact) else 0.0
        return self.time_ms - round(ago_s * 1000)


class ProgressFact(Model):
    """A fact about the progress of an attempt."""

    ago_s: float = 0.0
    """Seconds from the event to its publication. Progress of short attempts is published with the result."""


class QueuedWork(Model):
    """A record of `X.queue`, with everything that its consumer needs to start."""

    id: str
    attempt: int
    alone: bool = False
    """Whether no other attempt may run beside it: the last one before the submission is given up. An expired
    lease is then certainly its own."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory that a worker must be able to give one stage; 0 if every worker can do the work."""
        return 0


class Owed(NamedTuple):
    """Dispatch of an attempt that the fold did not enqueue, and that no worker has as far as events show."""

    dispatch: Literal["direct", "turn"]
    """`direct`: its request handler enqueues it. `turn`: the store processor does when its turn comes."""
    owner: str
    """Owner with whose other submissions it takes turns."""
    interactive: bool
    """Whether its client waits for the answer."""
    created_at: str
    """Append time of the request: RFC 3339, UTC, with milliseconds."""


OTHERS_EACH = 4
"""Number of turns of an owner of which one goes to a submission whose client does not wait."""


class Enqueue(NamedTuple):
    """Effect: append work to the queue."""

    id: str
    work: QueuedWork


class Stop(NamedTuple):
    """Effect: order workers to stop this attempt and all earlier ones."""

    id: str
    attempt: int


class SendDeadLetter(NamedTuple):
    """Effect: copy the event to the dead letters, since its producer gets no other notice."""

    reason: str


class SendReply(NamedTuple):
    """Effect: produce the answer to the reply topic that the request named."""

    topic: str
    id: str
    answer: str
    """Answer in JSON, as clients see it."""


class SendWebhook(NamedTuple):
    """Effect: append a webhook, which the webhook sender sends over HTTP."""

    id: str
    ended: Model
    """Final state of the submission. Only the store processor makes the body of it, since that is slow."""


Effect = Enqueue | Stop | SendDeadLetter | SendReply | SendWebhook


class Folded(NamedTuple, Generic[StateT]):
    """Result of folding a fact into a state."""

    state: StateT | None
    effects: tuple[Effect, ...] = ()
    refused: str | None = None
    """Reason why the fact changed nothing; None if it was accepted."""
