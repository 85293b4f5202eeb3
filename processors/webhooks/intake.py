"""Reading a topic of webhooks: many records are open at a time, and what lies below them all is committed."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from topics.kafka.clients import PauseControl, consume_batch, consumer_config, is_fatal, leave
from topics.kafka.liveness import with_liveness_check
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

_BATCH = 100
MOST_OPEN = 10_000
"""Records that wait or are under way; beyond it nothing more is taken from this topic."""


class Offsets:
    """Which records were taken and are not done. Pure."""

    def __init__(self) -> None:
        self._open: defaultdict[int, dict[int, None]] = defaultdict(dict)
        """By partition, in the order of their offsets."""
        self._read_to: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def taken(self, partition: int, offset: int) -> None:
        """It is open."""
        self._open[partition][offset] = None
        self._read_to[partition] = offset + 1

    def done(self, partition: int, offset: int) -> None:
        """It is not to be read again; nothing happens where the partition has gone to another since."""
        if partition in self._open:
            self._open[partition].pop(offset, None)

    def forget(self, partitions: Iterable[int]) -> None:
        """They have gone to another."""
        for partition in partitions:
            for known in (self._open, self._read_to, self._committed):
                known.pop(partition, None)

    @property
    def open(self) -> int:
        """How many are."""
        return sum(map(len, self._open.values()))

    def to_commit(self) -> dict[int, int]:
        """Where others would go on, of the partitions of which that has changed since the last call."""
        now = {p: next(iter(self._open[p]), read_to) for p, read_to in self._read_to.items()}
        changed = {p: offset for p, offset in now.items() if self._committed.get(p) != offset}
        self._committed |= changed
        return changed


class Intake:
    """A thread that hands the records of one topic to `take`, as long as not too many are open."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        group: str,
        *,
        take: Callable[["Intake", Message], None],
        on_death: Callable[[], None],
    ) -> None:
        """Both are called from the thread; after `on_death` the process should end."""
        self._topic, self._take_record, self._on_death = topic, take, on_death
        self._consumer = Consumer(with_liveness_check(consumer_config(settings, group)))
        self._brake = PauseControl(self._consumer)
        self._offsets = Offsets()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"take-{topic}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._consumer.subscribe([self._topic], on_assign=self._brake.on_assign, on_revoke=self._on_revoke)
        self._thread.start()

    def done(self, message: Message) -> None:
        """What the record asked for is done, or stands on a topic again. From any thread."""
        with self._lock:
            self._offsets.done(message.partition() or 0, message.offset() or 0)

    def stop(self) -> None:
        """Read no more."""
        self._stopping.set()
        self._thread.join()

    def close(self) -> None:
        """Commit what is done, and leave the group; after `stop`."""
        self._commit()
        leave(self._consumer)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        except Exception:
            log.exception("reading %s ends", self._topic)
            self._on_death()

    def _step(self) -> None:
        self._commit()
        if self._offsets.open < MOST_OPEN:
            self._brake.release()
        else:
            self._brake.pause()
        for message in consume_batch(self._consumer, _BATCH, 0.1):
            if error := message.error():
                if is_fatal(error):
                    raise KafkaException(error)
                log.warning("reading %s: %s", self._topic, error)
                continue
            with self._lock:
                self._offsets.taken(message.partition() or 0, message.offset() or 0)
            self._take_record(self, message)

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._commit()
        with self._lock:
            self._offsets.forget(tp.partition for tp in revoked)

    def _commit(self) -> None:
        with self._lock:
            offsets = self._offsets.to_commit()
        if not offsets:
            return
        next_offsets = [TopicPartition(self._topic, p, offset) for p, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=next_offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("reading %s: commit failed, redelivery is possible: %s", self._topic, error)
