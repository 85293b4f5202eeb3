"""Consumption of a queue: lease, commit, then run (rule 4). Only the consumer group distributes the records.

A record is begun only if there is a free slot. Otherwise it waits in memory, and is redirected if another
worker has a free slot. Work of a first delivery runs at once. Its offset is committed when the work is over,
or when it takes longer than a renewal period and is leased. If this process crashes before that, Kafka
redelivers the record. All other work is leased and committed before it runs.

All of that happens in one thread. If a partition is revoked, running work of it is leased and committed
first, and waiting records are dropped.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Generic, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from processors.queue.handing_back import HOPS, PATIENCE_S, READ_AHEAD, HandingBack, Waiting
from processors.queue.offsets import Offsets, Taken
from topics.fold import QueuedWork
from topics.kafka.clients import EventProducer, PauseControl, consumer_config, is_fatal, leave
from topics.kafka.codec import DecodeError, decode, header, make_dead_letter
from topics.kafka.liveness import with_liveness_check
from topics.model import Model
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=Model)
WorkT_contra = TypeVar("WorkT_contra", bound=Model, contravariant=True)

_NO_ROOM_POLL_S = 0.5
"""Period in which a full worker polls, finally with paused partitions, so that rebalances are answered."""
_ROOM_LOOK_S, _NO_ROOM_LOOK_S = 0.1, 0.02
"""Time to wait for a record before the free slots are counted again, with and without a free slot."""
_UNDECIDED_LOOK_S = 0.1
"""Time to wait before checking again which other process can hold work that is too large here."""
_COMMIT_PERIOD_S = 0.1
"""Time between commits: each costs a request. Finished work without a commit is redelivered after a crash."""
_MAX_POLL_INTERVAL_MS = 24 * 3_600_000
"""Long enough to wait for acknowledgements while the broker is not reachable; heartbeats continue."""


class Owner(Protocol[WorkT_contra]):
    """Receiver of the consumed work; all methods are called from the popper's thread."""

    def room(self) -> int:
        """Return how many records may be begun now."""
        ...

    def begin(self, work: WorkT_contra, *, first_delivery: bool) -> "Future[Message] | None":
        """Begin the work, or prepare it and publish that it started.

        Return None if the work runs at once. Else return the future of a record that must be acknowledged
        before `deliver`, as must the lease.
        """
        ...

    def lease(self, work: WorkT_contra) -> "Future[Message]":
        """Take the lease; once it is acknowledged, the popper commits and delivers the work."""
        ...

    def deliver(self, work: WorkT_contra) -> None:
        """Let the work run: it is leased and committed, so the record is not redelivered."""
        ...

    def over(self, work: WorkT_contra) -> bool:
        """Return whether the end of begun work is acknowledged, or its result is not needed any more."""
        ...


class Popper(Generic[WorkT]):
    """A thread that consumes one queue for `owner`."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        queue: str,
        dead_letters: str,
        group: str,
        model: type[WorkT],
        owner: Owner[WorkT],
        producer: EventProducer,
        on_death: Callable[[], None],
        lease_after_s: float,
        handing_back: HandingBack | None = None,
    ) -> None:
        """Call `on_death`, from the thread, if the consumer fails: the process should end.

        Work that runs for longer than `lease_after_s` is leased, if it was not before.
        """
        self._handing_back = handing_back
        self._waiting: list[Waiting] = []
        """Records of assigned partitions, in the order of each, behind all records that were begun."""
        self._offsets: Offsets[WorkT] = Offsets(owner.over)
        self._lease_after_s, self._looked_s = lease_after_s, 0.0
        self._partitions: set[int] = set()
        self._polled_s, self._read_all = 0.0, True
        self._undecided_until_s = 0.0
        """Time until which nothing is begun: others may still publish that they can hold larger work."""
        self._queue, self._dead_letters, self._model = queue, dead_letters, model
        self._owner, self._producer, self._on_death = owner, producer, on_death
        limits: dict[str, Any] = {
            "max.poll.interval.ms": _MAX_POLL_INTERVAL_MS,
            "queued.max.messages.kbytes": 16384,
        }
        self._consumer = Consumer(with_liveness_check(consumer_config(settings, group) | limits))
        self._pause_control = PauseControl(self._consumer)
        self._stopping = threading.Event()
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pop-{queue}", daemon=True)

    def start(self) -> None:
        """Start the thread that consumes."""
        self._thread.start()

    def wake(self) -> None:
        """Notify the thread that the number of free slots may have changed."""
        self._room.set()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Stop consuming. Return True once begun work is committed and delivered, False after `timeout_s`."""
        self._stopping.set()
        self._room.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._queue], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stopping.is_set():
                self._step()
            leave(self._consumer)
        except Exception:
            log.exception("consumption of %s failed", self._queue)
            self._on_death()

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._pause_control.on_assign(consumer, assigned)
        self._partitions.update(tp.partition for tp in assigned)

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Lease and commit running work, since the next owner of a partition begins at the commit."""
        self._secure(self._offsets.unsettled({tp.partition for tp in revoked}))
        self._on_lost(consumer, revoked)

    def _on_lost(self, _: Consumer, lost: list[TopicPartition]) -> None:
        """Drop waiting records of lost partitions.

        Begun work without a commit is redelivered: two processes then run one attempt (rule 3).
        """
        partitions = {tp.partition for tp in lost}
        self._partitions -= partitions
        self._offsets.forget(partitions)
        self._waiting = [each for each in self._waiting if each.message.partition() in self._partitions]

    def _step(self) -> None:
        self._room.clear()
        room = self._owner.room()
        if self._handing_back:
            idle = self._read_all and not self._waiting
            self._handing_back.tell(frozenset(self._partitions), room, idle=idle)
        if room > 0 and self._waiting and time.monotonic() >= self._undecided_until_s:
            taken, self._waiting = self._waiting[:room], self._waiting[room:]
            self._take([each.message for each in taken])
            return
        self._look_after_what_runs()
        if not self._waiting:
            self._pause_control.release()
            self._read(max(room, 1), _ROOM_LOOK_S if room > 0 else _NO_ROOM_LOOK_S)
        elif not self._hand_back():
            self._wait_for_room()

    def _read(self, limit: int, timeout_s: float) -> None:
        """Read records until `limit` of them wait; `timeout_s` applies to the first.

        Each record has a poll of its own, so that a revocation during a poll finds all records read before.
        """
        message = self._poll(timeout_s)
        while message is not None:
            error = message.error()
            if error is None:
                self._waiting.append(Waiting(message, time.monotonic()))
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("consuming %s: %s", self._queue, error)
            message = self._poll(0) if len(self._waiting) < limit else None

    def _poll(self, timeout_s: float) -> Message | None:
        self._polled_s = time.monotonic()
        message = self._consumer.poll(timeout_s)
        self._read_all = message is None
        return message

    def _hand_back(self) -> bool:
        """Redirect records that others would begin at once; return False if there are none."""
        elsewhere = self._handing_back.elsewhere() if self._handing_back else 0
        if not self._handing_back or not elsewhere:
            return False
        if (missing := min(elsewhere, READ_AHEAD) - len(self._waiting)) > 0:
            self._pause_control.release()
            self._read(len(self._waiting) + missing, 0)
        leaving = self._handing_back.leaving(self._waiting)
        if not leaving:
            return False
        messages = [each.message for each in self._waiting[: len(leaving)]]
        self._waiting = self._waiting[len(leaving) :]
        acknowledged([self._producer.produce(record, partition=to) for record, to in leaving])
        for message in messages:
            self._taken(message, None)
        return True

    def _wait_for_room(self) -> None:
        # A slot elsewhere that was only expected to be taken becomes free again without a message.
        patience_s = PATIENCE_S if self._handing_back and self._handing_back.others else _NO_ROOM_POLL_S
        if not self._room.wait(patience_s) and time.monotonic() - self._polled_s >= _NO_ROOM_POLL_S:
            # Paused as late as possible: after a pause the next fetch may take `fetch.wait.max.ms`.
            if len(self._waiting) >= READ_AHEAD:
                self._pause_control.pause()
            self._read(len(self._waiting) + 1, 0)

    def _take(self, messages: list[Message]) -> None:
        acknowledgements: list[Future[Message]] = []
        to_secure: set[int] = set()
        for number, message in enumerate(messages):
            try:
                work = decode(self._model, message.value())
            except DecodeError as unreadable:
                letter = make_dead_letter(self._dead_letters, message, str(unreadable))
                acknowledgements.append(self._producer.produce(letter))
                self._taken(message, None)
                continue
            if self._handing_back and self._handing_back.is_too_large(_memory_bytes(work)):
                if moved := self._handing_back.to_abler(message, _memory_bytes(work)):
                    acknowledgements.append(self._producer.produce(moved.record, partition=moved.partition))
                    self._taken(message, None)
                    continue
                if not self._handing_back.knows_others():
                    self._postpone(messages[number:])
                    break
                # No process can hold it: begin it, so that its owner refuses it.
            begun = self._owner.begin(work, first_delivery=self._is_first_delivery(message))
            self._taken(message, work)
            if begun:
                acknowledgements.append(begun)
                to_secure.add(message.partition() or 0)
        acknowledged(acknowledgements)
        if to_secure:  # with all records before them in their partitions
            self._secure(self._offsets.unsettled(to_secure))

    def _postpone(self, messages: list[Message]) -> None:
        now_s = time.monotonic()
        self._waiting[:0] = [Waiting(message, now_s) for message in messages]
        self._undecided_until_s = now_s + _UNDECIDED_LOOK_S

    def _is_first_delivery(self, message: Message) -> bool:
        """Return whether no process can have begun a record before; a redirected one counts as begun."""
        partition, offset = message.partition() or 0, message.offset() or 0
        where = TopicPartition(self._queue, partition)
        _, high_watermark = self._consumer.get_watermark_offsets(where, cached=True)
        first = self._offsets.is_first_delivery(partition, offset, high_watermark)
        return first and header(message, HOPS) is None

    def _taken(self, message: Message, work: WorkT | None) -> None:
        self._offsets.take(message.partition() or 0, message.offset() or 0, work, time.monotonic())

    def _look_after_what_runs(self) -> None:
        """Lease work that runs for long, and commit work that is over."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= _COMMIT_PERIOD_S:
            self._looked_s = now_s
            self._secure(self._offsets.unsettled(until_s=now_s - self._lease_after_s))

    def _secure(self, unsettled: list[Taken[WorkT]]) -> None:
        """Lease unsettled work, commit, and deliver it; the commit includes work that is over."""
        acknowledged([self._owner.lease(each.work) for each in unsettled])
        for each in unsettled:
            each.settled = True
        self._commit(self._offsets.committable())
        for each in unsettled:
            self._owner.deliver(each.work)

    def _commit(self, offsets: dict[int, int]) -> None:
        if not offsets:
            return
        next_offsets = [TopicPartition(self._queue, p, offset) for p, offset in offsets.items()]
        try:
            done = self._consumer.commit(offsets=next_offsets, asynchronous=False)
        except KafkaException as error:
            # Unless a later commit succeeds, the records are redelivered to another process (rule 3).
            log.warning("consuming %s: commit failed, redelivery is possible: %s", self._queue, error)
        else:
            self._offsets.committed({tp.partition: tp.offset for tp in done if tp.error is None})


def _memory_bytes(work: Model) -> int:
    return work.memory_bytes if isinstance(work, QueuedWork) else 0


def acknowledged(acknowledgements: "list[Future[Message]]") -> None:
    """Wait for acknowledgements.

    Raises:
        KafkaException: the broker will not acknowledge one of them.
    """
    wait(acknowledgements)
    for acknowledgement in acknowledgements:
        acknowledgement.result()
