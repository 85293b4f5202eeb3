"""Popping a queue that is a share group (KIP-932): an experiment, `ENVICUTOR_QUEUE=share`.

All workers share every partition, so that what waits is begun by whoever has room first; nothing needs to be
handed back. A record is locked for whoever is given it, and acknowledged where a consumer group would commit
(rule 4); else it comes again to another, once the lock expires. Therefore all work is leased before it runs.

The client calls this a preview. See docs/architecture.md for what is missing.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from confluent_kafka import KafkaException, Message, ShareConsumer

from processors.queue.popper import Owner, acknowledged
from topics.kafka.clients import FETCH_BYTES, EventProducer, connection, is_fatal
from topics.kafka.codec import UndecodableError, dead_letter, decode
from topics.model import Model
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=Model)

_LOOK_S = 0.1
"""How long to wait for a record before looking again how much room there is."""
_FULL_S = 0.5
_COMMIT_S = 10.0
_MAX_POLL_INTERVAL_MS = 24 * 3_600_000
"""A full worker does not poll, since what it is given is locked; heartbeats go on."""


class SharePopper(Generic[WorkT]):
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
        self._config = connection(settings) | {
            "group.id": settings.topic_prefix + group,
            "share.acknowledgement.mode": "explicit",
            "max.poll.records": 1,
            "max.poll.interval.ms": _MAX_POLL_INTERVAL_MS,
            "fetch.message.max.bytes": FETCH_BYTES,
            "fetch.max.bytes": 2 * FETCH_BYTES,
            "receive.message.max.bytes": 3 * FETCH_BYTES,
        }
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
        """Pop no more. Return True once what was begun is acknowledged and delivered, False after
        `timeout_s`."""
        self._stopping.set()
        self._room.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            consumer = ShareConsumer(self._config)
            consumer.subscribe([self._queue])
            while not self._stopping.is_set():
                self._room.clear()
                if self._owner.room() > 0:
                    self._take(consumer, list(consumer.poll(_LOOK_S)))
                else:
                    self._room.wait(_FULL_S)
            consumer.close()
        except Exception:
            log.exception("popping %s ends", self._queue)
            self._on_death()

    def _take(self, consumer: ShareConsumer, messages: list[Message]) -> None:
        """Begin all, even more than there is room for: the broker gives nobody a part of a batch."""
        taken: list[WorkT] = []
        acknowledgements: list[Future[Message]] = []
        read = [message for message in messages if not self._failed(message)]
        for message in read:
            try:
                work = decode(self._model, message.value())
            except UndecodableError as unreadable:
                letter = dead_letter(self._dead_letters, message, str(unreadable))
                acknowledgements.append(self._producer.produce(letter))
            else:
                taken.append(work)
                begun = self._owner.begin(work, first_delivery=False)
                acknowledgements += [self._owner.lease(work), *([begun] if begun else [])]
        if not read:
            return
        acknowledged(acknowledgements)
        self._accept(consumer, read)
        for work in taken:
            self._owner.deliver(work)

    def _failed(self, message: Message) -> bool:
        error = message.error()
        if error is not None:
            if is_fatal(error):
                raise KafkaException(error)
            log.warning("popping %s: %s", self._queue, error)
        return error is not None

    def _accept(self, consumer: ShareConsumer, messages: list[Message]) -> None:
        for message in messages:
            consumer.acknowledge(message)
        try:
            failed = [error for error in consumer.commit_sync(_COMMIT_S).values() if error is not None]
        except KafkaException as error:
            failed = [error]
        for each in failed:
            # The records come to another worker as well, and one attempt may run twice (rule 3).
            log.warning("popping %s: not acknowledged, redelivery is possible: %s", self._queue, each)
