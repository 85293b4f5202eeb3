"""Popping: lease, commit, then hand over (rule 4). The consumer group is the queue's one discipline.

A record is begun only when there is room for it; else it waits in memory, and is handed back where another
worker has room. Everything between beginning and the commit happens in one thread, so that a rebalance never
finds work that is leased but not committed; what only waits goes with its partition.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Generic, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from processors.work.handing_back import PATIENCE_S, READ_AHEAD, HandingBack, Waiting
from topics.clients import Brake, EventProducer, consumer_config, is_fatal
from topics.codec import UndecodableError, dead_letter, decode
from topics.model import Model
from topics.pulse import with_pulse
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=Model)
WorkT_contra = TypeVar("WorkT_contra", bound=Model, contravariant=True)

_NO_ROOM_POLL_S = 0.5
"""A full worker goes on polling, in the end on paused partitions, so that rebalances are answered."""
_ROOM_LOOK_S, _NO_ROOM_LOOK_S = 0.1, 0.02
"""How long to wait for a record before looking again how much room there is."""
_MAX_POLL_INTERVAL_MS = 24 * 3_600_000
"""While the broker is away, acknowledgements are waited for as long as it takes; heartbeats go on."""


class Owner(Protocol[WorkT_contra]):
    """Whom the popper works for; all methods are called from the popper's thread."""

    def room(self) -> int:
        """How many records may be taken now."""
        ...

    def begin(self, work: WorkT_contra) -> "list[Future[Message]]":
        """Say on the log that the work is ours; what must be acknowledged before the commit."""
        ...

    def deliver(self, work: WorkT_contra) -> None:
        """The work is ours: nobody else will be given this record."""
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
        handing_back: HandingBack | None = None,
    ) -> None:
        """`on_death` is called, from the thread, when the consumer is dead: the process should end."""
        self._handing_back = handing_back
        self._waiting: list[Waiting] = []
        """In the order of each partition; of partitions that are ours, from their committed offsets on."""
        self._partitions: set[int] = set()
        self._polled_s, self._read_all = 0.0, True
        self._queue, self._dead_letters, self._model = queue, dead_letters, model
        self._owner, self._producer, self._on_death = owner, producer, on_death
        limits: dict[str, Any] = {
            "max.poll.interval.ms": _MAX_POLL_INTERVAL_MS,
            "queued.max.messages.kbytes": 16384,
        }
        self._consumer = Consumer(with_pulse(consumer_config(settings, group) | limits))
        self._brake = Brake(self._consumer)
        self._stopping = threading.Event()
        self._room = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pop-{queue}", daemon=True)

    def start(self) -> None:
        """Begin to pop."""
        self._thread.start()

    def wake(self) -> None:
        """There may be room again."""
        self._room.set()

    def stop(self) -> None:
        """Pop no more; what was begun is committed and delivered before this returns."""
        self._stopping.set()
        self._room.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._queue], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )
            while not self._stopping.is_set():
                self._step()
            self._consumer.close()
        except Exception:
            log.exception("popping %s ends", self._queue)
            self._on_death()

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._brake.on_assign(consumer, assigned)
        self._partitions.update(tp.partition for tp in assigned)

    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        """The next owner begins where we committed, so what waits here is not ours any more."""
        self._partitions.difference_update(tp.partition for tp in revoked)
        self._waiting = [each for each in self._waiting if each.message.partition() in self._partitions]

    def _step(self) -> None:
        self._room.clear()
        room = self._owner.room()
        if self._handing_back:
            idle = self._read_all and not self._waiting
            self._handing_back.tell(frozenset(self._partitions), room, idle=idle)
        if room > 0 and self._waiting:
            taken, self._waiting = self._waiting[:room], self._waiting[room:]
            self._take([each.message for each in taken])
        elif not self._waiting:
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
        self._acknowledged([self._producer.produce(record, partition=to) for record, to in leaving])
        self._commit(_behind(messages))
        return True

    def _wait_for_room(self) -> None:
        patience_s = PATIENCE_S if self._handing_back and self._handing_back.elsewhere() else _NO_ROOM_POLL_S
        if not self._room.wait(patience_s) and time.monotonic() - self._polled_s >= _NO_ROOM_POLL_S:
            # Paused as late as can be: after it the next fetch may not come for `fetch.wait.max.ms`.
            if len(self._waiting) >= READ_AHEAD:
                self._brake.pause()
            self._read(len(self._waiting) + 1, 0)

    def _take(self, messages: list[Message]) -> None:
        taken: list[WorkT] = []
        acknowledgements: list[Future[Message]] = []
        for message in messages:
            try:
                work = decode(self._model, message.value())
            except UndecodableError as unreadable:
                letter = dead_letter(self._dead_letters, message, str(unreadable))
                acknowledgements.append(self._producer.produce(letter))
            else:
                taken.append(work)
                acknowledgements += self._owner.begin(work)
        self._acknowledged(acknowledgements)
        self._commit(_behind(messages))
        for work in taken:
            self._owner.deliver(work)

    def _acknowledged(self, acknowledgements: "list[Future[Message]]") -> None:
        wait(acknowledgements)
        for acknowledgement in acknowledgements:
            acknowledgement.result()

    def _commit(self, offsets: dict[int, int]) -> None:
        next_offsets = [TopicPartition(self._queue, p, offset) for p, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=next_offsets, asynchronous=False)
        except KafkaException as error:
            # The records will come to another worker as well, and one attempt may run twice (rule 3).
            log.warning("popping %s: commit failed, redelivery is possible: %s", self._queue, error)


def _behind(messages: list[Message]) -> dict[int, int]:
    """The next offset of each partition, once these are done."""
    return {message.partition() or 0: (message.offset() or 0) + 1 for message in messages}
