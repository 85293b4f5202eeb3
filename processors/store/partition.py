"""Fold of one partition of events in memory, without a Kafka client."""

from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import islice

from confluent_kafka import Message
from pydantic import ValidationError

from topics.aggregate import Aggregate
from topics.catalogue import Catalogue
from topics.fold import Effect, Enqueue, SendDeadLetter, SendReply, SendWebhook, Stop
from topics.kafka.codec import (
    DecodeError,
    Headers,
    Record,
    cloud_event,
    decode_fact,
    encode,
    make_dead_letter,
)
from topics.leases import StopOrder
from topics.model import Model

PATIENCE_S = 0.05
"""Linger of a transaction: how long it may wait for more events if no client waits for its own."""
END_PATIENCE_S = 0.02
"""Linger of a transaction with an end: clients of HTTP get their answer from the event, so only readers of
the store wait longer."""
BUSY_MS = 100
"""Age at which an attempt without `Started` is taken to find no free worker. Workers publish `Started` after
half of it."""
RATE_MS = 50
"""Period over which the rate is measured at which workers start attempts."""
PAUSE_S = 0.05
"""Time for which events are gathered while as many attempts wait as workers started within `RATE_MS`."""
_PARSED = 256
"""States that are kept as models; each may have some MiB."""
_REMEDY = "rebuild the store with `envicutor rebuild`"


@dataclass(frozen=True, slots=True)
class StoreDefinition:
    """Everything by which the SubmissionStore and the BuildStore differ: the aggregate, and lingers."""

    aggregate: Aggregate
    catalogue: Catalogue
    patience_s: Mapping[type[Model], float]
    """Linger of a transaction by the facts that it holds; other facts are committed at once."""
    stops: str | None
    """Topic of stop orders, None if the aggregate has none."""

    @property
    def name(self) -> str:
        """Consumer group of the store processor, without the prefix of topics."""
        return self.aggregate.family.store_group


class StaleStoreError(Exception):
    """A row was written by another version of the fold, or by hand: rebuild the store from the log."""


class Backlog:
    """Ids that were enqueued and not started since the assignment; all times are append times."""

    def __init__(self) -> None:
        self._new: set[str] = set()
        """Ids of this transaction, which workers cannot consume yet."""
        self._enqueued: dict[str, int] = {}
        """Time of the commit by id, in this order."""
        self._taken: deque[int] = deque()
        """Times at which ids were started, within the last `RATE_MS`."""

    def enqueue(self, id: str) -> None:
        """Add an id that this transaction enqueues."""
        self._new.add(id)

    def committed(self, now_ms: int) -> None:
        """Record that workers can consume the ids of this transaction."""
        self._enqueued |= dict.fromkeys(self._new, now_ms)
        self._new.clear()

    def take(self, id: str, now_ms: int) -> None:
        """Remove an id that a worker started, or that needs no worker any more."""
        self._new.discard(id)
        if self._enqueued.pop(id, None) is not None:
            self._taken.append(now_ms)

    def pause_s(self, now_ms: int) -> float:
        """Return for how long workers have enough to do without new records.

        Return 0 if they started nothing recently: then a pause would not relieve them.
        """
        while self._taken and self._taken[0] <= now_ms - RATE_MS:
            self._taken.popleft()
        enqueued_ms = next(islice(self._enqueued.values(), len(self._taken), None), now_ms)
        return PAUSE_S if self._taken and enqueued_ms <= now_ms - BUSY_MS else 0.0


@dataclass(slots=True)
class Partition:
    """All memory of one partition, dropped as one object; `dirty` and `out` are not committed yet."""

    store: StoreDefinition
    states: MutableMapping[str, bytes] = field(default_factory=dict)
    """Rows as they stand on the store topic; one is parsed when an event needs it."""
    parsed: dict[str, Model] = field(default_factory=dict)
    """Some of the states as models, since the events of one submission follow each other closely."""
    next_offset: int = 0
    committed_offset: int = 0
    time_ms: int = 0
    """Append time of the last event."""
    dirty: dict[str, str] = field(default_factory=dict)
    """Ids whose rows changed, each with the event that changed it last."""
    out: list[Record] = field(default_factory=list)
    pending_bytes: int = 0
    """Size of what is to be produced; a row that changed several times counts each time."""
    backlog: Backlog = field(default_factory=Backlog)
    replies: list[tuple[Record, Message]] = field(default_factory=list)
    """Answers for other systems, each with the event that caused it."""
    patience_s: float = PATIENCE_S
    """Time for which the commit may wait for more events."""

    def restore(self, message: Message) -> None:
        """Apply one record of the store topic; a tombstone of a rebuild removes its row."""
        raw, value = message.key(), message.value()
        assert isinstance(raw, bytes)
        key = raw.decode(errors="replace")  # a row written by hand may have any key
        if isinstance(value, bytes):
            self.states[key] = value
        else:
            self.states.pop(key, None)

    def fold(self, message: Message) -> None:
        """Fold one event. An unreadable event becomes a dead letter, so that the partition goes on."""
        event = f"{message.topic()}/{message.partition()}/{message.offset()}"
        try:
            recorded = decode_fact(message, self.store.aggregate.facts)
        except DecodeError as error:
            self._dead_letter(message, str(error))
        else:
            folded = self.store.aggregate.apply(self._state(recorded.id), recorded)
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
        """Time for which the next events are gathered before they are folded."""
        return self.backlog.pause_s(self.time_ms)

    @property
    def uncommitted(self) -> bool:
        """Whether events were folded since the last commit."""
        return self.next_offset != self.committed_offset

    def committed(self) -> None:
        """Record that everything up to `next_offset` was committed."""
        self.committed_offset = self.next_offset
        self.backlog.committed(self.time_ms)
        self.dirty.clear()
        self.out.clear()
        self.pending_bytes = 0
        self.replies.clear()
        self.patience_s = PATIENCE_S

    def records(self, refusal: Callable[[str], str | None] = lambda _: None) -> list[Record]:
        """Return what must be produced, besides the offset, for all events folded since the last commit.

        `refusal` returns why a reply topic accepts no answer, or None if it accepts them. An event whose
        answer is not accepted becomes a dead letter.
        """
        store = self.store.aggregate.family.store.name
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
        topic = self.store.aggregate.family.store.name
        try:
            state = self.store.aggregate.state.read(raw)
        except ValidationError as error:
            raise StaleStoreError(f"{key} in {topic} cannot be read, {_REMEDY}: {error}") from None
        found = getattr(state, "fold_version", None)
        if found != self.store.aggregate.fold_version:
            versions = f"by version {found} of the fold, this is {self.store.aggregate.fold_version}"
            raise StaleStoreError(f"{key} in {topic} was made {versions}: {_REMEDY}")
        return state

    def _effect(self, effect: Effect, message: Message, event: str) -> None:
        self.patience_s = 0
        match effect:
            case Enqueue(id=key, work=work):
                self.backlog.enqueue(key)
                self._put(self.store.aggregate.family.queue.name, key, work, "enqueued", event)
            case Stop(id=key, attempt=attempt):
                if self.store.stops:
                    self._put(self.store.stops, key, StopOrder(id=key, attempt=attempt), "stopped", event)
            case SendReply(topic=topic, id=key, answer=answer):
                told = Record(topic, key.encode(), answer.encode(), self._headers("answered", event, key))
                self.replies.append((told, message))
                self.pending_bytes += len(answer)
            case SendWebhook(id=key, webhook=webhook):
                self._put(self.store.catalogue.webhooks.name, key, webhook, "webhook", event)
            case SendDeadLetter(reason=reason):
                self._dead_letter(message, reason)

    def _reply(self, reply: Record, event: Message, refusal: Callable[[str], str | None]) -> Record:
        why = refusal(reply.topic)
        if why is None:
            return reply
        return make_dead_letter(
            self.store.catalogue.dead_letters.name, event, f"its answer was not told: {why}"
        )

    def _put(self, topic: str, key: str, model: Model, what: str, event: str) -> None:
        self._produce(Record(topic, key.encode(), encode(model), self._headers(what, event, key)))

    def _headers(self, what: str, event: str, key: str) -> Headers:
        return cloud_event(f"envicutor.{self.store.aggregate.noun}.{what}.v1", event, key, self.store.name)

    def _dead_letter(self, message: Message, reason: str) -> None:
        self.patience_s = 0
        self._produce(make_dead_letter(self.store.catalogue.dead_letters.name, message, reason))

    def _produce(self, record: Record) -> None:
        self.out.append(record)
        self.pending_bytes += len(record.value or b"")
