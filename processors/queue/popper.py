"""Popping: lease, commit, then hand over (rule 4). The consumer group is the queue's one discipline.

A record is begun only when there is room for it; else it waits in memory, and is handed back where another
worker has room. Work that nobody was given before runs at once; it is committed when it is over, or when it
takes longer than a renewal may and is leased. Until then Kafka would give it to another. All other work is
leased and committed before it runs. All of that happens in one thread, and what runs of a partition that is
revoked is leased and committed first; what only waits goes with the partition.
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
from topics.kafka.codec import DecodeError, dead_letter, decode, header
from topics.kafka.liveness import with_liveness_check
from topics.model import Model
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=Model)
WorkT_contra = TypeVar("WorkT_contra", bound=Model, contravariant=True)

_NO_ROOM_POLL_S = 0.5
"""A full worker goes on polling, in the end on paused partitions, so that rebalances are answered."""
_ROOM_LOOK_S, _NO_ROOM_LOOK_S = 0.1, 0.02
"""How long to wait for a record before looking again how much room there is."""
_UNDECIDED_LOOK_S = 0.1
"""How long to wait before asking again which other process can hold what is too large here."""
_COMMIT_PERIOD_S = 0.1
"""A commit costs a request; what is over and not committed is done once more if we die."""
_MAX_POLL_INTERVAL_MS = 24 * 3_600_000
"""While the broker is away, acknowledgements are waited for as long as it takes; heartbeats go on."""


class Owner(Protocol[WorkT_contra]):
    """Whom the popper works for; all methods are called from the popper's thread."""

    def room(self) -> int:
        """How many records may be taken now."""
        ...

    def begin(self, work: WorkT_contra, *, first_delivery: bool) -> "Future[Message] | None":
        """Begin the work, or prepare it and say so on the log.

        None where it runs at once; else what must be acknowledged before it is delivered, as must its lease.
        """
        ...

    def lease(self, work: WorkT_contra) -> "Future[Message]":
        """Take the lease; once that is acknowledged, the work is to be committed and delivered."""
        ...

    def deliver(self, work: WorkT_contra) -> None:
        """The work is leased and committed: nobody else will be given this record."""
        ...

    def over(self, work: WorkT_contra) -> bool:
        """Whether what came of begun work is acknowledged, or nobody wants it any more."""
        ...


class Popper(Generic[WorkT]):
    """A thread that pops one queue for `owner`."""

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
        """`on_death` is called, from the thread, when the consumer is dead: the process should end.

        What runs for longer than `lease_after_s` is leased, if it was not before.
        """
        self._handing_back = handing_back
        self._waiting: list[Waiting] = []
        """In the order of each partition; of partitions that are ours, behind all that was taken."""
        self._offsets: Offsets[WorkT] = Offsets(owner.over)
        self._lease_after_s, self._looked_s = lease_after_s, 0.0
        self._partitions: set[int] = set()
        self._polled_s, self._read_all = 0.0, True
        self._undecided_until_s = 0.0
        """Until then nothing is taken: others may still publish that they can hold what is too large here."""
        self._queue, self._dead_letters, self._model = queue, dead_letters, model
        self._owner, self._producer, self._on_death = owner, producer, on_death
        limits: dict[str, Any] = {
            "max.poll.interval.ms": _MAX_POLL_INTERVAL_MS,
            "queued.max.messages.kbytes": 16384,
        }
        self._consumer = Consumer(with_liveness_check(consumer_config(settings, group) | limits))
        self._brake = PauseControl(self._consumer)
        self._stopping = threading.Event()
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pop-{queue}", daemon=True)

    def start(self) -> None:
        """Begin to pop."""
        self._thread.start()

    def wake(self) -> None:
        """There may be room again."""
        self._room.set()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Pop no more. Return True once what was begun is committed and delivered, False after
        `timeout_s`."""
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
            log.exception("popping %s ends", self._queue)
            self._on_death()

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._brake.on_assign(consumer, assigned)
        self._partitions.update(tp.partition for tp in assigned)

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """The next owner begins where we committed."""
        self._secure(self._offsets.unsettled({tp.partition for tp in revoked}))
        self._on_lost(consumer, revoked)

    def _on_lost(self, _: Consumer, lost: list[TopicPartition]) -> None:
        """What waits here is not ours any more. What is begun is given to another as well, unless it was
        committed: two run one attempt (rule 3)."""
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
            self._brake.release()
            self._read(max(room, 1), _ROOM_LOOK_S if room > 0 else _NO_ROOM_LOOK_S)
        elif not self._hand_back():
            self._wait_for_room()

    def _read(self, limit: int, timeout_s: float) -> None:
        """Have up to `limit` records wait; `timeout_s` is for the first. A poll each, so that one which finds
        a partition revoked finds all that was read of it."""
        message = self._poll(timeout_s)
        while message is not None:
            error = message.error()
            if error is None:
                self._waiting.append(Waiting(message, time.monotonic()))
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("popping %s: %s", self._queue, error)
            message = self._poll(0) if len(self._waiting) < limit else None

    def _poll(self, timeout_s: float) -> Message | None:
        self._polled_s = time.monotonic()
        message = self._consumer.poll(timeout_s)
        self._read_all = message is None
        return message

    def _hand_back(self) -> bool:
        """Without room: give others what they would begin at once; False where there is nothing to give."""
        elsewhere = self._handing_back.elsewhere() if self._handing_back else 0
        if not self._handing_back or not elsewhere:
            return False
        if (missing := min(elsewhere, READ_AHEAD) - len(self._waiting)) > 0:
            self._brake.release()
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
        # Nobody says that there is room which was only thought to be taken.
        patience_s = PATIENCE_S if self._handing_back and self._handing_back.others else _NO_ROOM_POLL_S
        if not self._room.wait(patience_s) and time.monotonic() - self._polled_s >= _NO_ROOM_POLL_S:
            # Paused as late as can be: after it the next fetch may not come for `fetch.wait.max.ms`.
            if len(self._waiting) >= READ_AHEAD:
                self._brake.pause()
            self._read(len(self._waiting) + 1, 0)

    def _take(self, messages: list[Message]) -> None:
        acknowledgements: list[Future[Message]] = []
        to_secure: set[int] = set()
        for number, message in enumerate(messages):
            try:
                work = decode(self._model, message.value())
            except DecodeError as unreadable:
                letter = dead_letter(self._dead_letters, message, str(unreadable))
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
                # No process can hold it: begin it all the same, so that its owner refuses it.
            begun = self._owner.begin(work, first_delivery=self._is_first_delivery(message))
            self._taken(message, work)
            if begun:
                acknowledgements.append(begun)
                to_secure.add(message.partition() or 0)
        acknowledged(acknowledgements)
        if to_secure:  # with what is before them in their partitions
            self._secure(self._offsets.unsettled(to_secure))

    def _postpone(self, messages: list[Message]) -> None:
        now_s = time.monotonic()
        self._waiting[:0] = [Waiting(message, now_s) for message in messages]
        self._undecided_until_s = now_s + _UNDECIDED_LOOK_S

    def _is_first_delivery(self, message: Message) -> bool:
        """Whether nobody can have begun it before; of what was handed back we do not know."""
        partition, offset = message.partition() or 0, message.offset() or 0
        where = TopicPartition(self._queue, partition)
        _, high_watermark = self._consumer.get_watermark_offsets(where, cached=True)
        first = self._offsets.is_first_delivery(partition, offset, high_watermark)
        return first and header(message, HOPS) is None

    def _taken(self, message: Message, work: WorkT | None) -> None:
        self._offsets.take(message.partition() or 0, message.offset() or 0, work, time.monotonic())

    def _look_after_what_runs(self) -> None:
        """Lease what takes long, and commit what is over."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= _COMMIT_PERIOD_S:
            self._looked_s = now_s
            self._secure(self._offsets.unsettled(until_s=now_s - self._lease_after_s))

    def _secure(self, unsettled: list[Taken[WorkT]]) -> None:
        """Lease them, commit, deliver; and commit what is over."""
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
            # Unless a later commit succeeds, the records come to another as well (rule 3).
            log.warning("popping %s: commit failed, redelivery is possible: %s", self._queue, error)
        else:
            self._offsets.committed({tp.partition: tp.offset for tp in done if tp.error is None})


def _memory_bytes(work: Model) -> int:
    return work.memory_bytes if isinstance(work, QueuedWork) else 0


def acknowledged(acknowledgements: "list[Future[Message]]") -> None:
    """Wait for them; raises KafkaException where one will never be."""
    wait(acknowledgements)
    for acknowledgement in acknowledgements:
        acknowledgement.result()
