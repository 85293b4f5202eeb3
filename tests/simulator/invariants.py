"""What must be true at every step. Only ids that something happened to are looked at again."""

from collections import Counter, defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Message

from processors.health_checker.lease_monitor import Held, Late, LeaseMonitor
from tests.simulator.broker import Entry, Log, Transaction
from tests.simulator.family import CATALOGUE, GARBAGE, Family
from tests.simulator.groups import Group
from tests.simulator.health import HELD, SETTINGS, held_of, value_of
from tests.simulator.scheduler import Process
from topics.dependencies.state import EnvironmentState
from topics.fold import Enqueue, QueuedWork, SendWebhook
from topics.kafka.codec import HOPS, DecodeError, decode, decode_fact, encode
from topics.leases import Lease
from topics.submissions.fold import AttemptFact
from topics.submissions.webhook import make_webhook

if TYPE_CHECKING:
    from tests.simulator.world import World

_SLOWEST_S = 4.0
"""What a renewal, or a release, may take to the log, with the period of renewals."""


class _Queued(QueuedWork, extra="ignore"):
    """What all records of queues have."""


class ViolationError(AssertionError):
    """An invariant is broken."""

    def __init__(self, id: str, what: str) -> None:
        super().__init__(f"{id}: {what}")
        self.id = id


class _Change(NamedTuple):
    """What one event made, by the fold of the whole log."""

    offset: int
    id: str
    row: bytes
    sent: tuple[bytes, ...]
    """To the queue, and to whoever tells it over HTTP."""
    attempt: int
    final: bool
    owed: bool


class _Subject:
    """What is known of one family, beside the processes."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.truth: dict[str, Any] = {}
        """The fold of all events that were appended."""
        self.answers: dict[tuple[str, int], bytes] = {}
        """What was final first, by id and generation."""
        self.changes: list[deque[_Change]] = [deque() for _ in family.events]
        """Not committed by the store yet, by partition."""
        self.stored: dict[str, tuple[int, bool]] = {}
        """Attempt and whether final, as the store has committed it."""
        self.owed: set[str] = set()
        """Ids of rows that the store has committed and that say that it owes the attempt."""
        self.works: dict[tuple[str, int], bytes] = {}
        """The record of the queue for each attempt, as the fold makes it."""
        self.queued: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        """Partition and offset, by attempt."""
        self.table: dict[str, set[Held]] = defaultdict(set)
        """What the changelog of the health checkers says."""
        self.said: dict[str, deque[tuple[int, int, Lease]]] = defaultdict(deque)
        """Partition, offset and lease, of those that health checkers have not committed."""


class Invariants:
    """Watches the broker; everything here is certain, since it is on a log."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._subjects: dict[str, _Subject] = {family.subject: _Subject(family) for family in world.families}
        self._by_topic: dict[str, tuple[_Subject, str]] = {}
        self.facts: Counter[str] = Counter()
        """By name where they changed something, all others as `refused`."""
        self._dirty: set[tuple[str, str]] = set()
        self._unblamed: dict[str, str] = {}
        """Whom poison killed unleased."""
        world.broker.on_append.append(self._appended)
        for family in world.families:
            subject = self._subjects[family.subject]
            self._by_topic.setdefault(CATALOGUE.webhooks.name, (subject, "webhooks"))
            for kind in ("events", "rows", "queue", "leases", "changelog"):
                self._by_topic[getattr(family, kind)[0].topic] = (subject, kind)
            family.coordinator.on_decided.append(partial(self._decided, subject))
            family.work_group.on_commit.append(partial(self._popped, subject))
            family.check_group.on_commit.append(partial(self._checked, subject))

    def truth(self, subject: str) -> dict[str, Any]:
        """What the whole log makes of each id."""
        return self._subjects[subject].truth

    def stored(self, subject: str) -> dict[str, tuple[int, bool]]:
        """Attempt and whether final, as the store has committed it."""
        return self._subjects[subject].stored

    def unfinished(self) -> list[str]:
        """What is stored and not final."""
        subjects = self._subjects.values()
        return [id for subject in subjects for id, (_, final) in subject.stored.items() if not final]

    # -- what happens -------------------------------------------------------------------------------

    def _appended(self, log: Log, entry: Entry) -> None:
        if log.topic not in self._by_topic or entry.message is None:
            return
        subject, kind = self._by_topic[log.topic]
        if kind == "events":
            self._event(subject, log, entry.message)
        elif kind == "queue" and entry.transaction is None and entry.message.key() != GARBAGE:
            self._handed_back(subject, log, entry.message)
        elif kind == "leases" and entry.message.key() is not None:
            try:
                lease = decode(Lease, entry.message.value())
            except DecodeError:
                return
            subject.said[lease.id].append((log.number, entry.offset, lease))
            if lease.kind != "renewed":
                self._world.note(lease.id, "lease", lease)
            self._dirty.add((subject.family.subject, lease.id))
        elif kind == "changelog":
            held = held_of(entry.message)
            row = subject.table[held.id]
            (row.add if value_of(entry.message) == HELD else row.discard)(held)
            self._dirty.add((subject.family.subject, held.id))

    def _event(self, subject: _Subject, log: Log, message: Message) -> None:
        try:
            recorded = decode_fact(message, subject.family.facts)
        except DecodeError:
            return
        folded = subject.family.store.aggregate.apply(subject.truth.get(recorded.id), recorded)
        accepted = folded.refused is None
        self.facts[type(recorded.fact).__name__ if accepted else "refused"] += 1
        self._world.note(recorded.id, "event" if accepted else f"refused ({folded.refused})", recorded.fact)
        state = folded.state
        if state is None and isinstance(recorded.fact, AttemptFact):
            raise ViolationError(recorded.id, f"a fact before it was requested: {recorded.fact}")
        if state is None or folded.refused is not None:
            return
        aggregate = subject.family.store.aggregate
        owed = [aggregate.enqueue(state).work] if aggregate.owed(state) else []
        works = [effect.work for effect in folded.effects if isinstance(effect, Enqueue)]
        is_told = any(isinstance(effect, SendWebhook) for effect in folded.effects)
        told = [webhook] if is_told and (webhook := make_webhook(state)) else []
        row, sent = encode(state), tuple(encode(record) for record in (*works, *told))
        self._check_state(subject, state, row, works)
        for work in (*works, *owed):
            subject.works[work.id, work.attempt] = encode(work)
        subject.truth[recorded.id] = state
        subject.changes[log.number].append(
            _Change(message.offset() or 0, recorded.id, row, sent, state.attempt, state.final, bool(owed))
        )
        self._dirty.add((subject.family.subject, recorded.id))

    def _check_state(self, subject: _Subject, state: Any, row: bytes, works: list[QueuedWork]) -> None:
        if any(work.attempt != state.attempt or state.final for work in works) or len(works) > 1:
            raise ViolationError(state.id, f"enqueued other than the current attempt: {works}")
        if state.charged_attempts > state.allowed_attempts or state.host_faults > state.allowed_host_faults:
            raise ViolationError(state.id, "more attempts are charged than allowed")
        if state.status == "rejected":
            return
        key = (state.id, getattr(state, "generation", 1))
        if isinstance(state, EnvironmentState):  # it may be asked for again, and go, without another answer
            row = encode(state.replace(requested_at_ms=0, status="gone"))
        answer = row if state.final else None
        if subject.answers.get(key, answer) != answer:
            raise ViolationError(state.id, f"changed after its end: {subject.answers[key]!r} to {answer!r}")
        if answer is not None:
            subject.answers[key] = answer

    def _decided(self, subject: _Subject, transaction: Transaction) -> None:
        """A transaction writes exactly what the log makes of exactly the events that it consumes."""
        if not transaction.committed:
            return
        rows, sent = self._written(subject, transaction)
        expected_rows, expected_sent = self._expected(subject, transaction)
        for id in sorted(rows.keys() | expected_rows.keys()):
            if rows.get(id) != expected_rows.get(id):
                found, expected = rows.get(id), expected_rows.get(id)
                raise ViolationError(id, f"the store says {found!r}, the log {expected!r}")
        owed = {subject.works[id, 1] for id in subject.owed}
        for raw in expected_sent:
            if raw in sent:
                sent.remove(raw)
            else:
                raise ViolationError("", f"did not send {_short(raw)!r}")
        self.facts["(owed)"] += len(sent)
        if too_much := [raw for raw in sent if raw not in owed]:
            raise ViolationError("", f"sent {[_short(raw) for raw in too_much]}, which nothing asked for")

    def _written(self, subject: _Subject, transaction: Transaction) -> tuple[dict[str, bytes], list[bytes]]:
        rows: dict[str, bytes] = {}
        sent: list[bytes] = []
        for log, entries in transaction.logs.items():
            _, kind = self._by_topic.get(log.topic, (None, ""))
            for offset, message in ((entry.offset, entry.message) for entry in entries if entry.message):
                if kind == "rows":
                    rows[_text(message.key())] = value_of(message)
                elif kind == "webhooks":
                    sent.append(value_of(message))
                elif kind == "queue":
                    sent.append(value_of(message))
                    work = decode(_Queued, message.value())
                    subject.queued[work.id, work.attempt].append((log.number, offset))
        return rows, sent

    def _expected(self, subject: _Subject, transaction: Transaction) -> tuple[dict[str, bytes], list[bytes]]:
        rows: dict[str, bytes] = {}
        sent: list[bytes] = []
        for partition, offset in transaction.offsets.items():
            changes = subject.changes[partition]
            while changes and changes[0].offset < offset:
                change = changes.popleft()
                rows[change.id] = change.row
                sent += change.sent
                subject.stored[change.id] = (change.attempt, change.final)
                (subject.owed.add if change.owed else subject.owed.discard)(change.id)
                self._dirty.add((subject.family.subject, change.id))
        return rows, sent

    def _handed_back(self, subject: _Subject, log: Log, message: Message) -> None:
        work = decode(_Queued, message.value())
        if value_of(message) != subject.works.get((work.id, work.attempt)):
            raise ViolationError(work.id, f"enqueued what was not accepted: {work}")
        moved = dict(message.headers() or []).get(HOPS) is not None
        subject.queued[work.id, work.attempt].append((log.number, message.offset() or 0))
        self.facts["(moved)" if moved else "(dispatched)"] += 1
        self._world.note(work.id, f"{'moved' if moved else 'dispatched'} to {log.number}", work)

    def _popped(self, subject: _Subject, group: Group, partition: int, before: int, after: int) -> None:
        for message in subject.family.queue[partition].read(before, after - before).messages:
            if (message.offset() or 0) < after and message.key() != GARBAGE:
                work = decode(_Queued, message.value())
                self._world.note(work.id, "popped", work)
                self._dirty.add((subject.family.subject, work.id))

    def _checked(self, subject: _Subject, group: Group, partition: int, before: int, after: int) -> None:
        for message in subject.family.leases[partition].read(before, after - before).messages:
            self._dirty.add((subject.family.subject, _text(message.key())))

    def declared_dead(self, family: Family, late: Late, tick: Message) -> None:
        """Nobody is declared dead who lived all the time."""
        tick_s = family.leases[tick.partition() or 0].at(tick.offset() or 0).appended_s
        self._world.note(late.id, "declared dead", late)
        for worker in late.workers:
            process = self._world.process(worker)
            taken_s = process.leases.get((late.id, late.attempt))
            if taken_s is None:
                continue
            since_s = max(taken_s, tick_s - SETTINGS.lease_timeout_s - _SLOWEST_S)
            if not process.disturbed(since_s, tick_s):
                raise ViolationError(late.id, f"{worker} lives, and was declared dead")

    def died_of(self, id: str, attempt: int, process: Process) -> None:
        """Without a lease, for which nobody is blamed, an attempt kills one worker at most, and whoever does
        not know that its partition is another's."""
        if (id, attempt) in process.leases or process.pauses:
            return
        if id in self._unblamed:
            raise ViolationError(id, f"killed {self._unblamed[id]} and {process.name} unleased")
        self._unblamed[id] = process.name

    # -- what must be true --------------------------------------------------------------------------

    def check(self) -> None:
        """Whoever is unfinished is somebody's to finish."""
        for name, id in self._dirty:
            subject = self._subjects[name]
            attempt, final = subject.stored.get(id, (0, True))  # a tick has no id
            if final:
                continue  # or the store has not folded the request, which it will enqueue, or owe
            truth = subject.truth[id]
            if truth.final or truth.attempt != attempt:
                continue  # an event on the log ends it, or makes another attempt
            if id in subject.owed and subject.family.store.aggregate.owed(truth):
                continue
            if not self._queued(subject, id, attempt) and not self._leased(subject, id, attempt):
                raise ViolationError(id, f"attempt {attempt} is nobody's: neither queued nor leased")
        self._dirty.clear()

    def _queued(self, subject: _Subject, id: str, attempt: int) -> bool:
        offsets = subject.family.work_group.offsets
        return any(offset >= offsets.get(p, 0) for p, offset in subject.queued[id, attempt])

    def _leased(self, subject: _Subject, id: str, attempt: int) -> bool:
        """Whether health checkers will know a lease once they have read what is on the log."""
        offsets, said = subject.family.check_group.offsets, subject.said[id]
        while said and said[0][1] < offsets.get(said[0][0], 0):
            said.popleft()
        monitor = LeaseMonitor(sorted(subject.table[id]), mark="", timeout_s=1.0, tick_period_s=1.0)
        held = set(subject.table[id])
        for _, _, lease in said:
            change = monitor.observe(lease, 0.0)
            held = held - set(change.removed) | set(change.added)
        return any(lease.attempt == attempt for lease in held)


def _short(raw: bytes) -> bytes:
    return raw[:60]


def _text(key: str | bytes | None) -> str:
    return key.decode() if isinstance(key, bytes) else key or ""
