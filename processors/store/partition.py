"""Fold of one partition of events in memory, without a Kafka client."""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field

from confluent_kafka import Message
from pydantic import ValidationError

from processors.store.commit_policy import Applied
from topics.aggregate import Aggregate
from topics.catalogue import Catalogue
from topics.fold import Effect, Enqueue, Owed, SendDeadLetter, SendReply, SendWebhook, Stop
from topics.kafka.codec import (
    HOPS,
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
from topics.submissions.state import Submission
from topics.submissions.webhook import make_webhook

_OWED = b'"owed":"'
"""Bytes of the row of an owed attempt."""
_PARSED = 256
"""States that are kept as models; each may have some MiB."""
_REMEDY = "rebuild the store with `envicutor rebuild`"


@dataclass(frozen=True, slots=True)
class StoreDefinition:
    """Everything by which the SubmissionStore and the BuildStore differ: the aggregate, and lingers."""

    aggregate: Aggregate
    catalogue: Catalogue
    lingers_s: Mapping[type[Model], float]
    """Linger of a transaction by the facts that it holds; other facts are committed at once."""
    stops: str | None
    """Topic of stop orders, None if the aggregate has none."""
    takes_turns: bool = False
    """Whether requests may leave it to the store processor when they are enqueued."""

    @property
    def name(self) -> str:
        """Consumer group of the store processor, without the prefix of topics."""
        return self.aggregate.family.store_group


class StaleStoreError(Exception):
    """A row was written by another version of the fold, or by hand: rebuild the store from the log."""


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
    log_end: int = 0
    """End of the events when the partition was restored: another store processor may have folded these."""
    dirty: dict[str, str] = field(default_factory=dict)
    """Ids whose rows changed, each with the event that changed it last."""
    out: list[Record] = field(default_factory=list)
    maybe_owed: set[str] = field(default_factory=set)
    """Ids of restored rows with the bytes of an owed attempt."""
    places: dict[bytes, int] = field(default_factory=dict)
    """Partitions of the queue that records of `out` go to, by their keys; others go to any."""
    replies: list[tuple[Record, Message]] = field(default_factory=list)
    """Answers for other systems, each with the event that caused it."""

    def restore(self, message: Message) -> None:
        """Apply one record of the store topic; a tombstone of a rebuild removes its row."""
        raw, value = message.key(), message.value()
        assert isinstance(raw, bytes)
        key = raw.decode(errors="replace")  # a row written by hand may have any key
        if isinstance(value, bytes):
            self.states[key] = value
        else:
            self.states.pop(key, None)
        if isinstance(value, bytes) and _OWED in value:
            self.maybe_owed.add(key)
        else:
            self.maybe_owed.discard(key)

    def fold(self, message: Message) -> Applied:
        """Fold one event, and return what it changed.

        An unreadable event becomes a dead letter, so that the partition goes on.
        """
        event = f"{message.topic()}/{message.partition()}/{message.offset()}"
        self.next_offset = (message.offset() or 0) + 1
        try:
            recorded = decode_fact(message, self.store.aggregate.facts)
        except DecodeError as error:
            size_bytes = self._dead_letter(message, str(error))
            return Applied("", None, has_effects=True, size_bytes=size_bytes)
        folded = self.store.aggregate.apply(self._state(recorded.id), recorded)
        changed = folded.state is not None and folded.refused is None
        size_bytes = sum(self._effect(effect, message, event) for effect in folded.effects)
        if folded.state is not None and changed:
            size_bytes += self._remember(recorded.id, folded.state)
            self.dirty[recorded.id] = event
        return Applied(
            recorded.id,
            type(recorded.fact) if changed else None,
            has_effects=bool(folded.effects),
            size_bytes=size_bytes,
            owed=self.store.aggregate.owed(folded.state) if changed else None,
        )

    def restored_owed(self) -> list[tuple[str, Owed]]:
        """Return the ids that the restored rows have as owed, the oldest first, and forget them here."""
        candidates, self.maybe_owed = self.maybe_owed, set()
        found = [(id, owed) for id in candidates if (owed := self.store.aggregate.owed(self._state(id)))]
        return sorted(found, key=lambda entry: (entry[1].created_at, entry[0]))

    def enqueue_owed(self, id: str, *, maybe_enqueued: bool, to: int | None = None) -> int:
        """Enqueue the attempt that is owed, with the next commit; return the size of its record in bytes.

        `to` is a partition of the queue, None if any will do.
        """
        record = self.owed_record(id, maybe_enqueued=maybe_enqueued)
        if record is None:
            return 0
        if to is not None:
            self.places[id.encode()] = to
        return self._produce(record)

    def owed_record(self, id: str, *, maybe_enqueued: bool) -> Record | None:
        """Return the record of the queue for the attempt that is owed; None if none is.

        With `maybe_enqueued` the queue may have a record of it: only one may count as a first delivery.
        """
        state = self._state(id)
        if not self.store.aggregate.owed(state):
            return None
        event = f"{self.store.aggregate.family.events.name}/{self.next_offset}/{id}"
        hops: Headers = [(HOPS, b"0")] if maybe_enqueued else []
        queue, work = self.store.aggregate.family.queue.name, self.store.aggregate.enqueue(state).work
        return Record(queue, id.encode(), encode(work), [*self._headers("enqueued", event, id), *hops])

    @property
    def uncommitted(self) -> bool:
        """Whether events were folded since the last commit."""
        return self.next_offset != self.committed_offset

    def committed(self) -> None:
        """Record that everything up to `next_offset` was committed."""
        self.committed_offset = self.next_offset
        self.dirty.clear()
        self.out.clear()
        self.places.clear()
        self.replies.clear()

    @property
    def reply_topics(self) -> set[str]:
        """Topics that the answers of this transaction go to."""
        return {reply.topic for reply, _ in self.replies}

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

    def _remember(self, key: str, state: Model) -> int:
        """Keep a state; return the size of its row in bytes."""
        self.states[key] = row = encode(state)
        if len(self.parsed) >= _PARSED:
            self.parsed.clear()
        self.parsed[key] = state
        return len(row)

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

    def _effect(self, effect: Effect, message: Message, event: str) -> int:
        """Keep what an effect produces; return its size in bytes."""
        match effect:
            case Enqueue(id=key, work=work):
                return self._put(self.store.aggregate.family.queue.name, key, work, "enqueued", event)
            case Stop(id=key, attempt=attempt):
                if self.store.stops:
                    order = StopOrder(id=key, attempt=attempt)
                    return self._put(self.store.stops, key, order, "stopped", event)
            case SendReply(topic=topic, id=key, answer=answer):
                told = Record(topic, key.encode(), answer.encode(), self._headers("answered", event, key))
                self.replies.append((told, message))
                return len(answer)
            case SendWebhook(id=key, ended=Submission() as ended) if webhook := make_webhook(ended):
                return self._put(self.store.catalogue.webhooks.name, key, webhook, "webhook", event)
            case SendDeadLetter(reason=reason):
                return self._dead_letter(message, reason)
        return 0

    def _reply(self, reply: Record, event: Message, refusal: Callable[[str], str | None]) -> Record:
        why = refusal(reply.topic)
        if why is None:
            return reply
        return make_dead_letter(
            self.store.catalogue.dead_letters.name, event, f"its answer was not told: {why}"
        )

    def _put(self, topic: str, key: str, model: Model, what: str, event: str) -> int:
        return self._produce(Record(topic, key.encode(), encode(model), self._headers(what, event, key)))

    def _headers(self, what: str, event: str, key: str) -> Headers:
        return cloud_event(f"envicutor.{self.store.aggregate.noun}.{what}.v1", event, key, self.store.name)

    def _dead_letter(self, message: Message, reason: str) -> int:
        return self._produce(make_dead_letter(self.store.catalogue.dead_letters.name, message, reason))

    def _produce(self, record: Record) -> int:
        self.out.append(record)
        return len(record.value or b"")
