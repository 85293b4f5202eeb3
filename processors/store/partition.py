"""Folding one partition of events in memory; no Kafka client here."""

from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from confluent_kafka import Message
from pydantic import ValidationError

from topics.catalogue import Catalogue, Family
from topics.fold import DeadLetter, Effect, Enqueue, Folded, Notify, Recorded, Reply, Stop
from topics.kafka.codec import (
    Headers,
    Record,
    UndecodableError,
    cloud_event,
    dead_letter,
    decode_fact,
    encode,
)
from topics.leases import StopOrder
from topics.model import Model

PATIENCE_S = 0.05
"""How long a transaction may wait for company where nobody waits for it."""
END_PATIENCE_S = 0.02
"""The same for an end: its event tells whoever waits at the node that accepted the submission, only others
wait longer."""
BUSY_MS = 100
"""What nobody is known to have taken for so long finds no free worker; workers are quiet for half of it."""
RATE_MS = 50
"""How far back goes what tells how fast workers are."""
PAUSE_S = 0.05
"""For how long events may come together while as much as workers took within `RATE_MS` waits for them."""
_PARSED = 256
"""How many states are kept as models; they may be of some MiB each."""
_REMEDY = "make the store anew with `envicutor rebuild`"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What is folded: everything in which the SubmissionStore and the BuildStore differ."""

    name: str
    subject: str
    """Of its CloudEvents types: `submission` or `dependencies`."""
    family: Family
    catalogue: Catalogue
    facts: Mapping[str, type[Model]]
    state: type[Model]
    fold_version: int
    apply: Callable[[Any, Recorded[Any]], Folded[Any]]
    patience_s: Mapping[type[Model], float]
    """How long a transaction for nothing but these facts may wait for company; others wait for nothing."""
    stops: str | None
    """Topic of stop orders, None where nobody reads any."""


class StaleStoreError(Exception):
    """A row was made by another version of the fold, or by hand: the store must be rebuilt from the log."""


class Backlog:
    """What was enqueued and not taken, as far as the log has told since the assignment; all times are its."""

    def __init__(self) -> None:
        self._new: set[str] = set()
        """Those of this transaction, which workers do not see yet."""
        self._enqueued: dict[str, int] = {}
        """When, in this order."""
        self._taken: deque[int] = deque()
        """When, within the last moments."""

    def enqueue(self, id: str) -> None:
        """It is to be given to workers."""
        self._new.add(id)

    def committed(self, now_ms: int) -> None:
        """It is given to them."""
        self._enqueued |= dict.fromkeys(self._new, now_ms)
        self._new.clear()

    def take(self, id: str, now_ms: int) -> None:
        """A worker has it, or nobody needs it any more."""
        self._new.discard(id)
        if self._enqueued.pop(id, None) is not None:
            self._taken.append(now_ms)

    def pause_s(self, now_ms: int) -> float:
        """For how long workers will hardly need anything new; no time where they take nothing anyhow."""
        while self._taken and self._taken[0] <= now_ms - RATE_MS:
            self._taken.popleft()
        enqueued_ms = next(islice(self._enqueued.values(), len(self._taken), None), now_ms)
        return PAUSE_S if self._taken and enqueued_ms <= now_ms - BUSY_MS else 0.0


@dataclass(slots=True)
class Partition:
    """All memory of one partition; dropped as one object. `dirty` and `out` are not committed yet."""

    store: Aggregate
    states: MutableMapping[str, bytes] = field(default_factory=dict)
    """As they stand on the store topic; parsed only when an event needs them."""
    parsed: dict[str, Model] = field(default_factory=dict)
    """Some of them as models, since the events of one submission come close together."""
    next_offset: int = 0
    committed_offset: int = 0
    time_ms: int = 0
    """Append time of the last event."""
    dirty: dict[str, str] = field(default_factory=dict)
    """Ids to be stored anew, each with the event that changed it last."""
    out: list[Record] = field(default_factory=list)
    pending_bytes: int = 0
    """What there is to be produced; a row that changed several times counts each time."""
    backlog: Backlog = field(default_factory=Backlog)
    replies: list[tuple[Record, Message]] = field(default_factory=list)
    """Answers for other systems, each with the event that it is due to."""
    patience_s: float = PATIENCE_S
    """For how long the commit may wait for company."""

    def restore(self, message: Message) -> None:
        """Take one record of the store topic in; a rebuild removes rows."""
        raw, value = message.key(), message.value()
        assert isinstance(raw, bytes)
        key = raw.decode(errors="replace")  # somebody may have written it by hand
        if isinstance(value, bytes):
            self.states[key] = value
        else:
            self.states.pop(key, None)

    def fold(self, message: Message) -> None:
        """Take one event in. An unreadable one becomes a dead letter and the partition goes on."""
        event = f"{message.topic()}/{message.partition()}/{message.offset()}"
        try:
            recorded = decode_fact(message, self.store.facts)
        except UndecodableError as error:
            self._dead_letter(message, str(error))
        else:
            folded = self.store.apply(self._state(recorded.id), recorded)
            if folded.state is not None and folded.refused is None:
                self._remember(recorded.id, folded.state)
                self.dirty[recorded.id] = event
                self.patience_s = min(self.patience_s, self.store.patience_s.get(type(recorded.fact), 0))
                self.backlog.take(recorded.id, recorded.time_ms)
            for effect in folded.effects:
                self._effect(effect, message, event)
        self.next_offset, self.time_ms = (message.offset() or 0) + 1, message.timestamp()[1]

    @property
    def pause_s(self) -> float:
        """For how long the next events may come together before they are folded."""
        return self.backlog.pause_s(self.time_ms)

    @property
    def uncommitted(self) -> bool:
        """Whether events were folded since the last commit."""
        return self.next_offset != self.committed_offset

    def committed(self) -> None:
        """Everything up to `next_offset` is on the topics."""
        self.committed_offset = self.next_offset
        self.backlog.committed(self.time_ms)
        self.dirty.clear()
        self.out.clear()
        self.pending_bytes = 0
        self.replies.clear()
        self.patience_s = PATIENCE_S

    def records(self, refusal: Callable[[str], str | None] = lambda _: None) -> list[Record]:
        """What must be produced, besides the offset, for everything folded since the last commit.

        `refusal` says of a reply topic why it takes no answer; one that cannot be told is a dead letter.
        """
        store = self.store.family.store.name
        rows = [
            Record(store, key.encode(), self.states[key], self._headers("stored", event, key))
            for key, event in sorted(self.dirty.items())
        ]
        replies = [self._reply(*reply, refusal) for reply in self.replies]
        return rows + self.out + replies

    def _remember(self, key: str, state: Model) -> None:
        self.states[key] = encode(state)
        self.pending_bytes += len(self.states[key])
        if len(self.parsed) >= _PARSED:
            self.parsed.clear()
        self.parsed[key] = state

    def _state(self, key: str) -> Model | None:
        raw = self.states.get(key)
        if raw is None or key in self.parsed:
            return self.parsed.get(key)
        topic = self.store.family.store.name
        try:
            state = self.store.state.read(raw)
        except ValidationError as error:
            raise StaleStoreError(f"{key} in {topic} cannot be read, {_REMEDY}: {error}") from None
        found = getattr(state, "fold_version", None)
        if found != self.store.fold_version:
            versions = f"by version {found} of the fold, this is {self.store.fold_version}"
            raise StaleStoreError(f"{key} in {topic} was made {versions}: {_REMEDY}")
        return state

    def _effect(self, effect: Effect, message: Message, event: str) -> None:
        self.patience_s = 0
        match effect:
            case Enqueue(id=key, work=work):
                self.backlog.enqueue(key)
                self._put(self.store.family.queue.name, key, work, "enqueued", event)
            case Stop(id=key, attempt=attempt):
                if self.store.stops:
                    self._put(self.store.stops, key, StopOrder(id=key, attempt=attempt), "stopped", event)
            case Reply(topic=topic, id=key, answer=answer):
                told = Record(topic, key.encode(), answer.encode(), self._headers("answered", event, key))
                self.replies.append((told, message))
                self.pending_bytes += len(answer)
            case Notify(id=key, webhook=webhook):
                self._put(self.store.catalogue.webhooks.name, key, webhook, "webhook", event)
            case DeadLetter(reason=reason):
                self._dead_letter(message, reason)

    def _reply(self, reply: Record, event: Message, refusal: Callable[[str], str | None]) -> Record:
        why = refusal(reply.topic)
        if why is None:
            return reply
        return dead_letter(self.store.catalogue.dead_letters.name, event, f"its answer was not told: {why}")

    def _put(self, topic: str, key: str, model: Model, what: str, event: str) -> None:
        self._produce(Record(topic, key.encode(), encode(model), self._headers(what, event, key)))

    def _headers(self, what: str, event: str, key: str) -> Headers:
        return cloud_event(f"envicutor.{self.store.subject}.{what}.v1", event, key, self.store.name)

    def _dead_letter(self, message: Message, reason: str) -> None:
        self.patience_s = 0
        self._produce(dead_letter(self.store.catalogue.dead_letters.name, message, reason))

    def _produce(self, record: Record) -> None:
        self.out.append(record)
        self.pending_bytes += len(record.value or b"")
