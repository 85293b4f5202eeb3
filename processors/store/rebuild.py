"""Rebuild of a store from its log, while its processors run.

consumes  `X.events`, as far as the store processors have committed
produces  `X.store`: rows that differ from the fold, and tombstones for rows that it does not have

The log is folded first, while all processors continue. Then the rebuild opens a transaction in every
partition of the store, and every restore waits for its end (rule 2). After that it fences each instance, so
that the instance drops its memory at its next commit, and restores. The rebuild folds the events that were
committed meanwhile, and writes the rows that differ in its transaction. Effects are not repeated: queue and
stop orders stay as they are.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from processors.store.partition import Partition, StoreDefinition
from topics.kafka.clients import connection, producer_config
from topics.kafka.codec import cloud_event
from topics.kafka.scan import committed_offsets, read_to_end
from topics.settings import KafkaSettings

Progress = Callable[[str], None]

_TRANSACTION_TIMEOUT_MS = 300_000
"""Time for which store processors wait if this process is killed and not started again."""
_TIMEOUT_S = 30.0
_LOCK = b"/rebuild"
"""Key of the tombstones that open the transaction; no id has a slash."""
_PROGRESS_EVENTS = 10_000


class MissingEventsError(Exception):
    """The log has lost its beginning: rows whose events are gone cannot be rebuilt."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Numbers of what a rebuild read and changed."""

    events: int
    """Events of the log that were folded."""
    rows: int
    written: int
    """Rows that differed from the fold, or may have changed meanwhile."""
    removed: int
    """Rows without any event on the log."""


def rebuild(settings: KafkaSettings, store: StoreDefinition, progress: Progress) -> Rebuilt:
    """Make `X.store` equal to the fold of its log, in one transaction.

    Raises:
        MissingEventsError: the log has lost events; nothing was changed.
        KafkaException: the broker failed, or another rebuild took over; nothing was changed.
    """
    folding = _Folding(settings, store, progress)
    folding.to_committed()
    producer = _transactional(settings, f"{store.name}-rebuild")
    producer.begin_transaction()
    try:
        _lock(producer, store.aggregate.family.store.name, len(folding.partitions))
        _fence(settings, store)
        progress(f"{store.aggregate.noun}: its store processors wait")
        folding.to_committed()
        written, removed = _write(producer, settings, folding.partitions)
        producer.commit_transaction()
    except BaseException:
        producer.abort_transaction()  # else all processors would wait for its timeout
        raise
    rows = sum(len(partition.states) for partition in folding.partitions.values())
    return Rebuilt(folding.events, rows, written, removed)


class _Folding:
    """Fold of all committed events; ids that changed since the first call are `dirty`."""

    def __init__(self, settings: KafkaSettings, store: StoreDefinition, progress: Progress) -> None:
        self._settings, self._store, self._progress = settings, store, progress
        self.partitions: dict[int, Partition] = {}
        self.events = 0

    def to_committed(self) -> None:
        """Fold up to the offsets that the store processors committed, the first time from the beginning."""
        topic = self._store.aggregate.family.events.name
        ends = committed_offsets(self._settings, self._store.name, topic)
        first_time = not self.partitions
        self.partitions = self.partitions or {p: Partition(self._store) for p in ends}
        starts = {number: partition.next_offset for number, partition in self.partitions.items()}
        for message in read_to_end(self._settings, topic, starts):
            number, offset = message.partition() or 0, message.offset() or 0
            if offset < ends[number]:
                self._fold(self.partitions[number], message)
        for number, partition in self.partitions.items():
            if partition.next_offset == 0 < ends[number]:
                raise MissingEventsError(f"{topic}/{number}: all events before {ends[number]} are gone")
            if first_time:
                partition.committed()

    def _fold(self, partition: Partition, message: Message) -> None:
        if partition.next_offset == 0 < (message.offset() or 0):
            where = f"{message.topic()}/{message.partition()}"
            raise MissingEventsError(f"{where}: the events before {message.offset()} are gone")
        partition.fold(message)
        partition.out.clear()
        self.events += 1
        if self.events % _PROGRESS_EVENTS == 0:
            self._progress(f"{self._store.aggregate.noun}: {self.events} events folded")


def _transactional(settings: KafkaSettings, name: str) -> Producer:
    """Return a producer that fences an earlier one with this name and aborts its transaction."""
    config = producer_config(settings, message_timeout_ms=_TRANSACTION_TIMEOUT_MS) | {
        "transactional.id": f"{settings.topic_prefix}{name}",
        "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS,
    }
    producer = Producer(config)
    producer.init_transactions(_TIMEOUT_S)
    return producer


def _lock(producer: Producer, topic: str, partitions: int) -> None:
    for partition in range(partitions):
        producer.produce(topic, None, _LOCK, partition)
    producer.flush()


def _fence(settings: KafkaSettings, store: StoreDefinition) -> None:
    """Fence every instance that may hold rows from before the lock: each is a member of the group now."""
    admin = AdminClient(connection(settings))  # named, since it must live until it has the answer
    [future] = admin.describe_consumer_groups([settings.topic_prefix + store.name]).values()
    try:
        members = future.result().members
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise
        return  # no store processor has run yet
    for member in members:
        # An instance's transactional id is its `group.instance.id`.
        _transactional(settings, member.group_instance_id.removeprefix(settings.topic_prefix))


def _write(producer: Producer, settings: KafkaSettings, partitions: dict[int, Partition]) -> tuple[int, int]:
    """Write the rows that differ; return how many were written and removed."""
    store = partitions[0].store
    found = _rows(settings, store.aggregate.family.store.name)
    written = removed = 0
    for number, partition in partitions.items():
        states = {key.encode(): value for key, value in partition.states.items()}
        moved_on = {key.encode() for key in partition.dirty}
        wrong = {key for key, value in states.items() if found[number].get(key) != value}
        for key in sorted(wrong | moved_on):
            _produce(producer, store, number, key, states[key])
        strange = found[number].keys() - states.keys()
        for key in sorted(strange):
            _produce(producer, store, number, key, None)
        written, removed = written + len(wrong | moved_on), removed + len(strange)
    return written, removed


def _rows(settings: KafkaSettings, topic: str) -> defaultdict[int, dict[bytes, bytes]]:
    """Return the rows by partition, as they stand below the lock."""
    rows: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
    for message in read_to_end(settings, topic):
        key, value = message.key(), message.value()
        assert isinstance(key, bytes)
        if isinstance(value, bytes):
            rows[message.partition() or 0][key] = value
        else:
            rows[message.partition() or 0].pop(key, None)
    return rows


def _produce(
    producer: Producer, store: StoreDefinition, partition: int, key: bytes, value: bytes | None
) -> None:
    id = key.decode(errors="backslashreplace")
    headers = cloud_event(
        f"envicutor.{store.aggregate.noun}.stored.v1", uuid.uuid4().hex, id, f"{store.name}/rebuild"
    )
    while True:
        try:
            producer.produce(store.aggregate.family.store.name, value, key, partition, headers=headers)
        except BufferError:  # the local queue is full: wait until it is shorter
            producer.poll(0.1)
        else:
            return
