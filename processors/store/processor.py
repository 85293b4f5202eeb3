"""The store processor: state, queue records, stops and offsets in one transaction (rule 2).

consumes  `X.events`
produces  `X.store` (the partition number that it consumed), `X.queue`, `submissions.stops`, `dead-letters`,
          `webhooks.pending`, answers on the topics that requests named

Everything but the watchdog happens in one thread. A crash at any point is safe: the next instance
fences this one and begins where the last transaction ended.
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

from processors.store.partition import Aggregate, Partition
from processors.store.restore import Restorer
from topics.kafka.clients import consume_batch, consumer_config, is_fatal, leave, producer_config
from topics.kafka.codec import Record
from topics.kafka.liveness import with_pulse
from topics.kafka.replies import ReplyTopics
from topics.process import crash, tune_gc
from topics.request.limits import MiB
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

TRANSACTION_TIMEOUT_MS = 5000
"""After a kill inside a transaction nobody reads past it for this long, unless its slot restarts sooner."""
STUCK_S = 20.0
"""librdkafka 2.16 can hang for ever in `send_offsets_to_transaction` after a broker restart (#5456)."""
_BATCH = 500
_PER_TURN = 4
"""How many records of a transaction go to one partition of the queue. Each partition that has a part in it
costs the broker five requests more; to hand back what came to a full worker costs a few for each record."""
_TRANSACTION_BYTES = 16 * MiB
"""A transaction that holds so much takes no more events, so that each is over within its timeout."""


class Stopping(Exception):  # noqa: N818 - not an error: SIGTERM came while something waited
    """The process was asked to stop."""


class StoreProcessor:
    """One instance; `slot` tells the instances of one store apart, across their restarts."""

    def __init__(self, settings: KafkaSettings, store: Aggregate, slot: str) -> None:
        self._settings, self._store, self._slot = settings, store, slot
        self._partitions: dict[int, Partition] = {}
        self._turns = itertools.cycle(range(store.family.queue.partitions(settings.profile)))
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
            KafkaException: the consumer is dead; the process must be started again.
        """
        threading.Thread(target=self._watchdog, daemon=True).start()
        # The producer comes before the group: it ends a transaction that its predecessor left open.
        try:
            self._producer = self._new_producer()
            folder = self._settings.data_dir / "views" / f"{self._store.name}-{self._slot}"
            self._restorer = Restorer(self._settings, self._store, folder, self._progress)
            self._consumer = Consumer(with_pulse(self._group()))
        except Stopping:
            return
        self._consumer.subscribe(
            [self._store.family.events.name],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        tune_gc()
        log.info("%s %s: folds %s", self._store.name, self._slot, self._store.family.events.name)
        try:
            while not self._stopping.is_set():
                self._step()
        except Stopping:
            pass
        finally:
            with suppress(Stopping):  # raised by a rebalance that is served while leaving
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
        """The same call again while the client says that this is allowed (also after its own timeout)."""
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
        topic = self._store.family.events.name
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
            self._rewind()  # some may follow on what was in memory and is gone
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
        """For how long events may come together."""
        wishes = [partition.pause_s for partition in self._partitions.values()]
        return 0.0 if self._behind else min(wishes, default=0.0)

    def _fold(self, message: Message) -> bool:
        """Whether there is so much to be committed that nothing may be added."""
        self._progress()  # one may take a while
        partition = self._partitions.get(message.partition() or 0)
        if partition is None or (message.offset() or 0) < partition.next_offset:
            return False
        partition.fold(message)
        return self._full()

    def _full(self) -> bool:
        return sum(part.pending_bytes for part in self._partitions.values()) >= _TRANSACTION_BYTES

    def _commit_if_due(self) -> bool:
        """False where that failed: memory is then of an earlier moment, and the log is read from there."""
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
        # Before the transaction begins: `refusal` may ask the broker, for longer than a transaction may take.
        records = {number: partition.records(self._replies.refusal) for number, partition in due.items()}
        producer = self._producer
        producer.begin_transaction()
        turns = itertools.chain.from_iterable(itertools.repeat(turn, _PER_TURN) for turn in self._turns)
        for number in due:
            for record in records[number]:
                place = self._place(record, number, turns)
                producer.produce(record.topic, record.value, record.key, place, headers=record.headers)
        group = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():  # metadata without a member would not be fenced
            raise KafkaException(KafkaError(KafkaError._ASSIGNMENT_LOST))
        topic = self._store.family.events.name
        offsets = [TopicPartition(topic, number, partition.next_offset) for number, partition in due.items()]
        self._retrying(lambda: producer.send_offsets_to_transaction(offsets, group, 10))
        self._retrying(lambda: producer.commit_transaction(10))
        for partition in due.values():
            partition.committed()
        self._deadline = None

    def _place(self, record: Record, consumed: int, turns: Iterator[int]) -> int:
        """The partition that a record goes to; -1 where its key says it."""
        if record.topic == self._store.family.store.name:
            return consumed
        # By turns: another attempt usually goes to another partition, since another worker may do better.
        return next(turns) if record.topic == self._store.family.queue.name else -1

    def _recover(self, cause: BaseException) -> None:
        """Whatever went wrong: the transaction goes, all memory goes, the log says where we are."""
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
        """Read on where memory is."""
        topic = self._store.family.events.name
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
