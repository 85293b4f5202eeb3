"""Popping: lease, commit, then hand over (rule 4). The consumer group is the queue's one discipline.

A record is taken only when there is room for it. Everything between `poll` and the commit happens in
one thread, so that a rebalance never finds work that is leased but not committed.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Generic, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from topics.clients import Brake, EventProducer, consume_batch, consumer_config, is_fatal
from topics.codec import UndecodableError, dead_letter, decode
from topics.model import Model
from topics.pulse import with_pulse
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=Model)
WorkT_contra = TypeVar("WorkT_contra", bound=Model, contravariant=True)

_NO_ROOM_POLL_S = 0.5
"""A full worker goes on polling, on paused partitions, so that rebalances are answered."""
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
    ) -> None:
        """`on_death` is called, from the thread, when the consumer is dead: the process should end."""
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
            self._consumer.subscribe([self._queue], on_assign=self._brake.on_assign)
            while not self._stopping.is_set():
                self._step()
            self._consumer.close()
        except Exception:
            log.exception("popping %s ends", self._queue)
            self._on_death()

    def _step(self) -> None:
        self._room.clear()
        room = self._owner.room()
        if room > 0:
            self._brake.release()
            self._take(consume_batch(self._consumer, room, 0.1))
        elif not self._room.wait(_NO_ROOM_POLL_S):
            self._brake.pause()
            self._take(consume_batch(self._consumer, 1, 0))

    def _take(self, messages: list[Message]) -> None:
        taken: list[WorkT] = []
        acknowledgements: list[Future[Message]] = []
        offsets: dict[int, int] = {}
        for message in messages:
            if error := message.error():
                if is_fatal(error):
                    raise KafkaException(error)
                log.warning("popping %s: %s", self._queue, error)
                continue
            offsets[message.partition() or 0] = (message.offset() or 0) + 1
            try:
                work = decode(self._model, message.value())
            except UndecodableError as unreadable:
                letter = dead_letter(self._dead_letters, message, str(unreadable))
                acknowledgements.append(self._producer.produce(letter))
            else:
                taken.append(work)
                acknowledgements += self._owner.begin(work)
        if not offsets:
            return
        wait(acknowledgements)
        for acknowledgement in acknowledgements:
            acknowledgement.result()
        self._commit(offsets)
        for work in taken:
            self._owner.deliver(work)

    def _commit(self, offsets: dict[int, int]) -> None:
        next_offsets = [TopicPartition(self._queue, p, offset) for p, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=next_offsets, asynchronous=False)
        except KafkaException as error:
            # The records will come to another worker as well, and one attempt may run twice (rule 3).
            log.warning("popping %s: commit failed, redelivery is possible: %s", self._queue, error)
