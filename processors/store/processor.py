"""The store processor: state, queue records, stops and offsets in one transaction (rule 2).

consumes  `X.events`
produces  `X.store` (the partition number that it consumed), `X.queue`, `submissions.stops`, `dead-letters`,
          `webhooks.pending`, answers on the topics that requests named

Everything but the watchdog runs in one thread. A crash at any point is safe: the next instance fences this
one and begins where the last committed transaction ended.
"""

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from processors.store.partition import Partition, StoreDefinition
from processors.store.restore import Restorer
from topics.kafka.clients import consume_batch, consumer_config, is_fatal, leave, producer_config
from topics.kafka.codec import Record
from topics.kafka.liveness import with_liveness_check
from topics.kafka.replies import ReplyTopics
from topics.process import crash, tune_gc
from topics.request.limits import MiB
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

TRANSACTION_TIMEOUT_MS = 5000
"""Time for which consumers cannot read past a killed process's transaction, unless it restarts sooner."""
STUCK_S = 20.0
"""Time without progress after which the process ends: librdkafka 2.16 can hang for ever in
`send_offsets_to_transaction` after a broker restart (#5456)."""
_BATCH = 500
_PER_TURN = 4
"""Records of a transaction that go to one partition of the queue in a row. Each partition in a transaction
costs the broker five more requests. Redirecting records from a full worker costs a few requests each."""
_TRANSACTION_BYTES = 16 * MiB
"""Size at which a transaction is committed without more events, so that it ends within its timeout."""


class Stopping(Exception):  # noqa: N818 - not an error: SIGTERM arrived during a call
    """The process was asked to stop while a call waited."""


class StoreProcessor:
    """One instance of a store; `slot` distinguishes the instances, and stays the same across restarts."""

    def __init__(self, settings: KafkaSettings, store: StoreDefinition, slot: str) -> None:
        self._settings, self._store, self._slot = settings, store, slot
        self._partitions: dict[int, Partition] = {}
        self._turns = itertools.cycle(range(store.aggregate.family.queue.partitions(settings.profile)))
        self._replies = ReplyTopics(settings, store.catalogue)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._deadline: float | None = None
        self._reassigned = self._behind = False
        self._alive_at = time.monotonic()

    def stop(self) -> None:
        """Ask `run` to return soon; may be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Fold until stopped.

        Raises:
            KafkaException: the consumer failed; the process must be started again.
        """
        threading.Thread(target=self._watchdog, daemon=True).start()
        # The producer comes before the group: it aborts a transaction that its predecessor left open.
        try:
            self._producer = self._new_producer()
            folder = self._settings.data_dir / "views" / f"{self._store.name}-{self._slot}"
            self._restorer = Restorer(self._settings, self._store, folder, self._progress)
            self._consumer = Consumer(with_liveness_check(self._group()))
        except Stopping:
            return
        self._consumer.subscribe(
            [self._store.aggregate.family.events.name],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        tune_gc()
        log.info("%s %s: folds %s", self._store.name, self._slot, self._store.aggregate.family.events.name)
        try:
            while not self._stopping.is_set():
                self._step()
        except Stopping:
            pass
        finally:
            with suppress(Stopping):  # raised by a rebalance callback during the call
                leave(self._consumer, is_static=True)
            self._restorer.close()
            self._ended.set()

    # -- clients -----------------------------------------------------------------------------------

    def _group(self) -> dict[str, object]:
        instance = f"{self._settings.topic_prefix}{self._store.name}-{self._slot}"
        return consumer_config(self._settings, self._store.name) | {"group.instance.id": instance}

    def _new_producer(self) -> Producer:
        transactional = {
            "transactional.id": f"{self._settings.topic_prefix}{self._store.name}-{self._slot}",
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        }
        config = producer_config(self._settings, message_timeout_ms=TRANSACTION_TIMEOUT_MS)
        producer = Producer(config | transactional)
        self._retrying(lambda: producer.init_transactions(2))
        return producer

    def _retrying(self, call: Callable[[], T]) -> T:
        """Repeat a call while the client marks its error as retriable, which includes a timeout."""
        while True:
            self._progress(alive=False)
            try:
                return call()
            except KafkaException as exception:
                error = exception.args[0]
                if not error.retriable() or error.txn_requires_abort() or error.fatal():
                    raise
                time.sleep(0.02)

    # -- assignment: no memory survives it -----------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._reassigned = True
        consumer.incremental_assign(self._restore([tp.partition for tp in assigned]))

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        for tp in revoked:
            self._partitions.pop(tp.partition, None)
        consumer.incremental_unassign(revoked)

    def _restore(self, partitions: list[int]) -> list[TopicPartition]:
        for partition in partitions:
            self._partitions.pop(partition, None)
        if not partitions:
            return []
        self._partitions |= self._restorer.restore(self._consumer, partitions)
        topic = self._store.aggregate.family.events.name
        return [TopicPartition(topic, p, self._partitions[p].next_offset) for p in partitions]

    # -- fold and commit -------------------------------------------------------------------------------

    def _step(self) -> None:
        self._progress()
        time.sleep(self._pause_s())
        wait_s = max(0.0, self._deadline - time.monotonic()) if self._deadline else 0.2
        self._reassigned = False
        messages = consume_batch(self._consumer, _BATCH, wait_s)
        self._behind = len(messages) == _BATCH
        if self._reassigned and messages:
            self._rewind()  # some may follow events that were in memory and are gone
            return
        for message in messages:
            error = message.error()
            if error is not None:
                if is_fatal(error):
                    raise KafkaException(error)
                log.warning("%s: %s", self._store.name, error)
            elif self._fold(message) and not self._commit_if_due():
                return
        self._commit_if_due()

    def _pause_s(self) -> float:
        """Return for how long events are gathered, in seconds."""
        wishes = [partition.pause_s for partition in self._partitions.values()]
        return 0.0 if self._behind else min(wishes, default=0.0)

    def _fold(self, message: Message) -> bool:
        """Fold an event; return whether the transaction is so large that no event may be added."""
        self._progress()  # the fold of one event may take long
        partition = self._partitions.get(message.partition() or 0)
        if partition is None or (message.offset() or 0) < partition.next_offset:
            return False
        partition.fold(message)
        return self._full()

    def _full(self) -> bool:
        return sum(part.pending_bytes for part in self._partitions.values()) >= _TRANSACTION_BYTES

    def _commit_if_due(self) -> bool:
        """Commit if the linger is over or the transaction is full.

        Return False if that failed: memory is then restored to an earlier offset, and the log read again.
        """
        due = {p: partition for p, partition in self._partitions.items() if partition.uncommitted}
        now = time.monotonic()
        wishes = [now + partition.patience_s for partition in due.values()]
        self._deadline = min(self._deadline or math.inf, *wishes) if due else None
        if self._deadline is None or not (self._full() or now >= self._deadline):
            return True
        try:
            self._commit(due)
        # SystemError: a fatal error that surfaced inside a callback of the client.
        except (KafkaException, BufferError, SystemError) as error:
            self._recover(error)
            return False
        return True

    def _commit(self, due: dict[int, Partition]) -> None:
        # Before the transaction begins: `refusal` may wait for the broker for longer than its timeout.
        records = {number: partition.records(self._replies.refusal) for number, partition in due.items()}
        producer = self._producer
        producer.begin_transaction()
        turns = itertools.chain.from_iterable(itertools.repeat(turn, _PER_TURN) for turn in self._turns)
        for number in due:
            for record in records[number]:
                place = self._place(record, number, turns)
                producer.produce(record.topic, record.value, record.key, place, headers=record.headers)
        group = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():  # metadata without a member id would not be fenced
            raise KafkaException(KafkaError(KafkaError._ASSIGNMENT_LOST))
        topic = self._store.aggregate.family.events.name
        offsets = [TopicPartition(topic, number, partition.next_offset) for number, partition in due.items()]
        self._retrying(lambda: producer.send_offsets_to_transaction(offsets, group, 10))
        self._retrying(lambda: producer.commit_transaction(10))
        for partition in due.values():
            partition.committed()
        self._deadline = None

    def _place(self, record: Record, consumed: int, turns: Iterator[int]) -> int:
        """Return the partition that a record goes to; -1 if its key determines it."""
        if record.topic == self._store.aggregate.family.store.name:
            return consumed
        # By turns, so that another attempt usually goes to another worker, which may succeed.
        return next(turns) if record.topic == self._store.aggregate.family.queue.name else -1

    def _recover(self, cause: BaseException) -> None:
        """Abort the transaction and restore all memory from the topics, after any error."""
        log.warning("%s restores after: %s", self._store.name, cause)
        self._replies.look_again()
        error = cause.args[0] if isinstance(cause, KafkaException) else None
        try:
            if error is not None and error.fatal():
                raise cause
            self._retrying(lambda: self._producer.abort_transaction(10))
        except KafkaException:  # fenced, or nothing to abort: a new epoch ends the old transaction
            self._producer = self._new_producer()
        self._deadline = None
        for start in self._restore(list(self._partitions)):
            self._consumer.seek(start)

    def _rewind(self) -> None:
        """Seek to the offsets that memory stands at."""
        topic = self._store.aggregate.family.events.name
        starts = [
            TopicPartition(topic, p, partition.next_offset) for p, partition in self._partitions.items()
        ]
        self._consumer.incremental_unassign(starts)
        self._consumer.incremental_assign(starts)

    # -- life ------------------------------------------------------------------------------------------

    def _progress(self, *, alive: bool = True) -> None:
        if alive:
            self._alive_at = time.monotonic()
        if self._stopping.is_set():
            raise Stopping

    def _watchdog(self) -> None:
        while time.monotonic() - self._alive_at < STUCK_S:
            if self._ended.wait(1):
                return
        crash(f"{self._store.name} made no progress for {STUCK_S} s")
