"""Verification: the log is folded again; the stores must equal the result, and each attempt needs an owner.

The order of reads makes it correct while the system runs:

- Committed offsets before and after the store bound the states that the store may contain.
- The queue's offsets are read before the queue and the leases, and these before the events. A worker's
  lease, or the `HandedBack` of its attempt, is on the log before the worker commits the queue. The attempt's
  result is on the log before the worker releases the lease.
- An attempt whose lease has just expired has no owner for a moment, so suspects are checked twice.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from confluent_kafka import Consumer, TopicPartition
from pydantic import BaseModel, ValidationError

from topics.aggregate import Aggregate
from topics.audit.ownership import AttemptId, Leases, unowned_attempts
from topics.audit.replay import Difference, Replay
from topics.audit.sealed import Inspection, Sealing, Seals
from topics.kafka.clients import READER, SHORT_LIVED, consumer_config
from topics.kafka.codec import DecodeError, decode
from topics.kafka.scan import committed_offsets, partitions, read_to_end
from topics.leases import Lease
from topics.settings import KafkaSettings
from topics.times import now_ms

Progress = Callable[[str], None]

_TIMEOUT_S = 30.0
_PROGRESS_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Findings:
    """Result of the audit of one aggregate."""

    events: int
    """Number of folded events."""
    refused: int
    """Folded events that changed nothing: late, of an older attempt, a conflict."""
    unreadable: int
    """Events that cannot be decoded; they are dead letters."""
    waiting: int
    """Ids with events that the store processor has not folded yet."""
    stored: int
    """Rows of the store, one per id."""
    rows_before_log_start: int
    """Rows from before the log's first remaining event; they are not compared."""
    unfinished: int
    differences: list[Difference]
    unowned_attempts: list[AttemptId]
    """Attempts that are neither finished nor queued nor leased."""
    owed: int
    """Attempts that the store processor enqueues in their turn, or if no worker has them soon. Those that
    ingest was to enqueue, and that are neither queued nor leased, stand among `unowned_attempts` as well."""
    unrequested: list[str]
    """Ids on the queue that the log has no request of. Each is of a process that may write to the queue."""
    sealing: Sealing

    @property
    def clean(self) -> bool:
        """Whether the audit found no differences, stuck attempts, unrequested work or flaws of seals."""
        return not (self.differences or self.unowned_attempts or self.unrequested or self.sealing.flaws)


def verify(
    settings: KafkaSettings, aggregate: Aggregate, seals: Seals, lease_timeout_s: float, progress: Progress
) -> Findings:
    """Audit all of `aggregate`; a suspect is reported if a second look after `lease_timeout_s` confirms it.

    `seals` were read before, so all records that they cover are on the log by now.

    Raises:
        KafkaException: the broker or a topic is not there.
    """
    first = _look(settings, aggregate, seals, lease_timeout_s, progress)
    if first.clean:
        return first
    progress(f"{aggregate.name}: looking again in {lease_timeout_s:g} s, something may have been on its way")
    time.sleep(lease_timeout_s)
    second = _look(settings, aggregate, seals, lease_timeout_s, progress)
    suspects = {difference.id for difference in first.differences}
    return replace(
        second,
        differences=[difference for difference in second.differences if difference.id in suspects],
        unowned_attempts=sorted(set(first.unowned_attempts) & set(second.unowned_attempts)),
        unrequested=sorted(set(first.unrequested) & set(second.unrequested)),
    )


def _look(
    settings: KafkaSettings, aggregate: Aggregate, seals: Seals, lease_timeout_s: float, progress: Progress
) -> Findings:
    family = aggregate.family
    before = committed_offsets(settings, family.store_group, family.events.name)
    stored = _stored(settings, family.store.name)
    after = committed_offsets(settings, family.store_group, family.events.name)
    progress(f"{aggregate.name}: {len(stored)} records in the store")
    consumed = committed_offsets(settings, family.work_group, family.queue.name)
    leased = _leased(settings, family.leases.name, lease_timeout_s)
    queued = _queued(settings, family.queue.name, consumed)
    replay = Replay(aggregate, before, after)
    inspection = Inspection(family.events, seals.chains, now_ms())
    for count, message in enumerate(read_to_end(settings, family.events.name), 1):
        replay.add(message)
        inspection.add(message)
        if count % _PROGRESS_EVENTS == 0:
            progress(f"{aggregate.name}: {count} events read")
    differences = replay.differences(stored)
    open_attempts = replay.folded.unfinished
    # Work is enqueued after its request was appended; but the beginning of the log may be gone.
    requested = replay.folded.ids | replay.waiting
    # What ingest did not enqueue as it should is enqueued between the two looks.
    in_turn = {id for id, owed in replay.folded.owed.items() if owed.dispatch == "turn"}
    unrequested = {id for id, _ in queued if id not in requested and not replay.begins}
    return Findings(
        events=replay.events,
        refused=replay.refused,
        unreadable=replay.unreadable,
        waiting=len(replay.waiting),
        stored=len(stored),
        unfinished=len(open_attempts),
        differences=differences,
        rows_before_log_start=replay.rows_before_log_start,
        unowned_attempts=unowned_attempts(open_attempts, queued, leased, replay.waiting | in_turn),
        owed=len(replay.folded.owed),
        unrequested=sorted(unrequested),
        sealing=inspection.finish(),
    )


def _stored(settings: KafkaSettings, topic: str) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for message in read_to_end(settings, topic):
        key, value = message.key(), message.value()
        id = key.decode(errors="replace") if isinstance(key, bytes) else ""
        if isinstance(value, bytes):
            rows[id] = value
        else:
            rows.pop(id, None)
    return rows


class _Entry(BaseModel):
    """The fields of a queue record that an audit needs."""

    id: str
    attempt: int


def _queued(settings: KafkaSettings, topic: str, consumed: dict[int, int]) -> set[AttemptId]:
    queued = set()
    for message in read_to_end(settings, topic, consumed):
        try:
            entry = _Entry.model_validate_json(message.value() or b"")
        except ValidationError:
            continue  # its consumer will append a dead letter
        queued.add((entry.id, entry.attempt))
    return queued


def _leased(settings: KafkaSettings, topic: str, lease_timeout_s: float) -> set[AttemptId]:
    leases = Leases()
    for message in read_to_end(settings, topic, _since(settings, topic, lease_timeout_s)):
        try:
            leases.add(decode(Lease, message.value()))
        except DecodeError:
            continue  # a tick
    return leases.attempts


def _since(settings: KafkaSettings, topic: str, age_s: float) -> dict[int, int]:
    """Return the offset by partition of the first record that is not older than `age_s`."""
    time_ms = round((time.time() - age_s) * 1000)
    consumer = Consumer(consumer_config(settings, READER) | SHORT_LIVED)
    try:
        asked = [TopicPartition(topic, p, time_ms) for p in partitions(consumer, topic)]
        return {tp.partition: tp.offset for tp in consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)}
    finally:
        consumer.close()
