"""The store processor: state, queue records, stops and offsets in one transaction (rule 2).

consumes  `X.events`
produces  `X.store` (the partition number that it consumed), `X.queue`, `submissions.stops`, `dead-letters`,
          `webhooks.pending`, answers on the topics that requests named

One coroutine polls, folds and commits; rebalances happen within its polls. A crash at any point is safe: the
next instance fences this one and begins where the last committed transaction ended.
"""

import itertools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message
from typing_extensions import override

from processors.store.commit_policy import TRANSACTION_BYTES, CommitPolicy
from processors.store.dispatcher import Dispatcher
from processors.store.partition import Partition, StoreDefinition
from processors.store.restore import MakeStates, Restorer
from processors.store.turn_queue import TurnQueue
from topics.kafka.clients import is_fatal
from topics.kafka.codec import Record
from topics.kafka.ports import (
    Clock,
    Consumer,
    Follower,
    Producer,
    Reader,
    RebalanceListener,
    TransactionalProducer,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 500
_PER_PLACE = 4
"""Records of a transaction that go to one partition of the queue in a row. Each partition in a transaction
costs the broker five more requests. Redirecting records from a full worker costs a few requests each."""
_IDLE_S = 0.5
"""Timeout of a poll if no event waits for its commit; a stop takes as long."""
_WAITING_S = 0.05
"""The same while submissions wait for a free slot, which workers publish on another topic."""
_GATHER_S = 0.02
"""Sleep before a poll while ingest enqueues all work. Rows, replies, webhooks and stop orders come up to so
much later; answers over HTTP, which come from ingest, have the processors."""
_RETRY_S = 0.02


class Stopping(Exception):  # noqa: N818 - not an error: SIGTERM arrived during a call
    """The process was asked to stop while a call waited."""


class Refusals(Protocol):
    """The topics for answers that requests may name, as `topics.kafka.replies.ReplyTopics` knows them."""

    async def refusals(self, names: Collection[str]) -> Mapping[str, str]:
        """Return why no answer may be produced to a topic, for those of `names` to which none may.

        Raises:
            KafkaException: the broker did not answer.
        """
        ...

    def look_again(self) -> None:
        """Forget what is known: a topic may have been deleted."""
        ...


class StorePorts(NamedTuple):
    """Everything by which a store processor affects something, waits, or asks for the time."""

    consumer: Consumer
    """Member of the store's group, which reads `X.events`; a static one, so that it keeps its partitions."""
    producer: TransactionalProducer
    reader: Reader
    """Reader of `X.store`, from which memory is restored."""
    replies: Refusals
    clock: Clock
    make_states: MakeStates
    follow_slots: Callable[[Callable[[list[Message]], None]], Follower] | None = None
    """Maker of a reader of `X.slots`; None for a store whose work takes no turns."""
    queue: Producer | None = None
    """Producer of records of the queue outside of transactions; None if all are in one."""


class StoreProcessor(RebalanceListener):
    """One instance of a store."""

    def __init__(
        self,
        store: StoreDefinition,
        ports: StorePorts,
        queue_partitions: int,
        log_partitions: int,
        *,
        policy: CommitPolicy | None = None,
        member_s: float = 2.0,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Fold `store` through `ports`. The default policy has the lingers of the store.

        `queue_partitions` and `log_partitions` are the numbers of partitions of the queue and of the events.
        `member_s` is that of `TurnQueue`. `on_progress` is called again and again, except while a call waits
        for the broker.
        """
        self._store, self._queue_partitions = store, queue_partitions
        self._consumer, self._producer, reader, self._replies, self._clock, make_states, follow, queue = ports
        self._restorer = Restorer(store, self._consumer, reader, make_states, self._clock, self._progress)
        self._policy = policy or CommitPolicy(store.lingers_s)
        self._dispatcher = Dispatcher(log_partitions)
        self._turn_queue = (
            TurnQueue(queue, self._dispatcher, queue_partitions, member_s, self._clock) if queue else None
        )
        self._on_progress = on_progress
        self._partitions: dict[int, Partition] = {}
        self._all_places = itertools.cycle(range(queue_partitions))
        self._stopping = self._reassigned = self._behind = False
        self._slots = follow(self._update_slots) if follow else None

    def stop(self) -> None:
        """Ask `run` to return soon; any thread may call it."""
        self._stopping = True

    async def run(self) -> None:
        """Fold until stopped.

        Raises:
            KafkaException: the consumer failed; the process must be started again.
        """
        with suppress(Stopping):
            try:
                # The producer comes before the group: it aborts a transaction of its predecessor.
                await self._retrying(self._producer.init)
                if self._slots:
                    await self._slots.start()
                await self._consumer.subscribe(self)
                log.info("%s: folds %s", self._store.name, self._store.aggregate.family.events.name)
                while True:
                    await self._step()
            finally:
                await self._close()

    async def _close(self) -> None:
        with suppress(Stopping):  # raised by a rebalance during the call
            await self._consumer.close()
        if self._slots:
            await self._slots.close()
        await self._restorer.close()
        self._producer.close()

    # -- assignment: no memory survives it -----------------------------------------------------------

    @override
    async def on_assign(self, partitions: Collection[int]) -> Mapping[int, int]:
        self._reassigned = True
        return await self._restore(partitions)

    @override
    async def on_revoke(self, partitions: Collection[int]) -> None:
        self._forget(partitions)

    @override
    async def on_lost(self, partitions: Collection[int]) -> None:
        self._forget(partitions)

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._partitions.pop(partition, None)
        self._policy.forget(partitions)
        self._dispatcher.forget(partitions)
        if self._turn_queue:
            self._turn_queue.close()

    async def _restore(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Restore the memory of partitions; return their next offsets."""
        self._forget(partitions)
        if not partitions:
            return {}
        restored = await self._restorer.restore(sorted(partitions))
        self._partitions |= restored
        self._policy.restored(restored)
        for number, partition in restored.items():
            self._dispatcher.restored(number, partition, self._clock.now_s())
        return self._next_offsets(restored)

    # -- fold and commit -------------------------------------------------------------------------------

    async def _step(self) -> None:
        self._progress()
        if self._dispatcher.may_wait and not self._behind:
            await self._clock.sleep(_GATHER_S)
        wait_s = self._policy.wait_s(self._clock.now_s())
        self._reassigned = False
        longest_s = _WAITING_S if self._dispatcher.is_waiting else _IDLE_S
        messages = await self._consumer.poll(_BATCH, longest_s if wait_s is None else min(wait_s, longest_s))
        self._behind = len(messages) == _BATCH
        if self._reassigned and messages:
            # Some may follow events that were in memory and are gone.
            self._consumer.seek(self._next_offsets(self._partitions))
            return
        for message in messages:
            error = message.error()
            if error is not None:
                if is_fatal(error):
                    raise KafkaException(error)
                log.warning("%s: %s", self._store.name, error)
            elif self._fold(message) and not await self._commit_if_due():
                return
        await self._commit_if_due(self._enqueue())

    def _enqueue(self) -> set[int]:
        """Enqueue what waits, at once or with the next commit of the partitions that are returned."""
        now_s = self._clock.now_s()
        due = self._dispatcher.enqueue(self._partitions, self._consumer.high_watermark, now_s)
        queue = self._turn_queue if self._turn_queue and self._turn_queue.is_open(now_s) else None
        room_bytes = TRANSACTION_BYTES
        for turn, place in self._dispatcher.due_turns(len(self._partitions), now_s):
            partition = self._partitions[turn.partition]
            if queue:
                queue.append(partition, turn, place)
            elif room_bytes > 0:
                room_bytes -= partition.enqueue_owed(turn.id, maybe_enqueued=turn.maybe_enqueued, to=place)
                due.add(turn.partition)
            else:
                self._dispatcher.put_back(turn)
        return due

    def _fold(self, message: Message) -> bool:
        """Fold an event; return whether the transaction is so large that no event may be added."""
        self._progress()  # the fold of one event may take long
        number = message.partition() or 0
        partition = self._partitions.get(number)
        if partition is None or (message.offset() or 0) < partition.next_offset:
            return False
        applied, now_s = partition.fold(message), self._clock.now_s()
        self._policy.folded(number, applied, now_s)
        existed = partition.next_offset <= partition.log_end
        self._dispatcher.folded(number, applied, now_s, existed=existed)
        return self._policy.is_full

    async def _commit_if_due(self, others: Collection[int] = ()) -> bool:
        """Commit if the linger is over, the transaction is full, or `others` are to be committed as well.

        Return False if that failed: memory is then restored to an earlier offset, and the log read again.
        """
        if not others and not self._policy.is_due(self._clock.now_s()):
            return True
        parts = self._partitions.items()
        try:
            await self._commit({p: part for p, part in parts if part.uncommitted or p in others})
        # SystemError: a fatal error that surfaced inside a callback of the client.
        except (KafkaException, BufferError, SystemError) as error:
            await self._recover(error)
            return False
        return True

    async def _commit(self, due: dict[int, Partition]) -> None:
        begun_s = self._clock.now_s()
        # Before the transaction begins: `refusals` may wait for the broker for longer than its timeout.
        refusals = await self._refusals(due)
        records = {number: partition.records(refusals.get) for number, partition in due.items()}
        producer = self._producer
        producer.begin()
        others = itertools.chain.from_iterable(itertools.repeat(p, _PER_PLACE) for p in self._all_places)
        for number in due:
            for record in records[number]:
                producer.produce(record, partition=self._place(record, number, due[number].places, others))
        group = self._consumer.group_metadata
        if group is None:  # metadata without a member id would not be fenced
            raise KafkaException(KafkaError(KafkaError._ASSIGNMENT_LOST))
        topic, offsets = self._store.aggregate.family.events.name, self._next_offsets(due)
        await self._retrying(lambda: producer.send_offsets(topic, offsets, group))
        await self._retrying(producer.commit)
        for partition in due.values():
            partition.committed()
        self._policy.committed()
        self._dispatcher.committed()
        if self._turn_queue:
            self._turn_queue.committed(begun_s)

    async def _refusals(self, due: dict[int, Partition]) -> Mapping[str, str]:
        topics = {topic for partition in due.values() for topic in partition.reply_topics}
        return await self._replies.refusals(topics) if topics else {}

    def _place(
        self, record: Record, consumed: int, places: Mapping[bytes, int], others: Iterator[int]
    ) -> int:
        """Return the partition that a record goes to; -1 if its key determines it."""
        if record.topic == self._store.aggregate.family.store.name:
            return consumed
        if record.topic != self._store.aggregate.family.queue.name:
            return -1
        assert isinstance(record.key, bytes)
        # One after the other, so that another attempt usually goes to another worker, which may succeed.
        return places[record.key] if record.key in places else next(others)

    async def _recover(self, cause: BaseException) -> None:
        """Abort the transaction and restore all memory from the topics, after any error."""
        log.warning("%s restores after: %s", self._store.name, cause)
        self._replies.look_again()
        error = cause.args[0] if isinstance(cause, KafkaException) else None
        try:
            if error is not None and error.fatal():
                raise cause
            await self._retrying(self._producer.abort)
        except KafkaException:  # fenced, or nothing to abort: a new epoch ends the old transaction
            await self._retrying(self._producer.init)
        self._consumer.seek(await self._restore(list(self._partitions)))

    def _next_offsets(self, partitions: Mapping[int, Partition]) -> dict[int, int]:
        return {number: partition.next_offset for number, partition in partitions.items()}

    def _update_slots(self, messages: list[Message]) -> None:
        self._dispatcher.update(messages, self._clock.now_s())

    # -- life ------------------------------------------------------------------------------------------

    async def _retrying(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call while the client marks its error as retriable, which includes a timeout."""
        while True:
            self._progress(alive=False)
            try:
                return await call()
            except KafkaException as exception:
                error = exception.args[0]
                if not error.retriable() or error.txn_requires_abort() or error.fatal():
                    raise
                await self._clock.sleep(_RETRY_S)

    def _progress(self, *, alive: bool = True) -> None:
        if alive:
            self._on_progress()
        if self._stopping:
            raise Stopping
