"""Consumption of a topic of webhooks: many records are open at a time.

The committed offset of a partition is that of its first open record.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from topics.kafka.clients import PauseControl, consume_batch, consumer_config, leave
from topics.kafka.liveness import with_liveness_check
from topics.kafka.records import position, usable
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

_BATCH = 100
MOST_OPEN = 10_000
"""Records that may be open at a time. At this number the consumer pauses, which bounds memory."""


class OpenRecords:
    """Open records: consumed, and not yet delivered or published again. Pure."""

    def __init__(self) -> None:
        self._open: defaultdict[int, dict[int, None]] = defaultdict(dict)
        """Offsets of each partition, in ascending order."""
        self._read_to: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def add(self, partition: int, offset: int) -> None:
        """Add a record that was consumed."""
        self._open[partition][offset] = None
        self._read_to[partition] = offset + 1

    def remove(self, partition: int, offset: int) -> None:
        """Remove a record that need not be redelivered; do nothing if its partition was revoked."""
        if partition in self._open:
            self._open[partition].pop(offset, None)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop the records of revoked partitions."""
        for partition in partitions:
            for known in (self._open, self._read_to, self._committed):
                known.pop(partition, None)

    @property
    def count(self) -> int:
        """Return the number of open records in all partitions."""
        return sum(map(len, self._open.values()))

    def to_commit(self) -> dict[int, int]:
        """Return the offsets to commit, by partition, that have changed since the last call."""
        now = {p: next(iter(self._open[p]), read_to) for p, read_to in self._read_to.items()}
        changed = {p: offset for p, offset in now.items() if self._committed.get(p) != offset}
        self._committed |= changed
        return changed


class Intake:
    """Consumer thread that passes the records of one topic to `on_record` while few enough are open."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        group: str,
        *,
        on_record: Callable[["Intake", Message], None],
        on_failure: Callable[[], None],
    ) -> None:
        """Prepare the consumer; `start` subscribes it.

        The thread calls `on_record` with each record. It calls `on_failure` when it fails; the process should
        then end.
        """
        self._topic, self._on_record, self._on_failure = topic, on_record, on_failure
        self._consumer = Consumer(with_liveness_check(consumer_config(settings, group)))
        self._pause_control = PauseControl(self._consumer)
        self._records = OpenRecords()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"consume-{topic}", daemon=True)

    def start(self) -> None:
        """Subscribe to the topic and start the thread."""
        self._consumer.subscribe(
            [self._topic], on_assign=self._pause_control.on_assign, on_revoke=self._on_revoke
        )
        self._thread.start()

    def done(self, message: Message) -> None:
        """Remove a record that was delivered, or published again. May be called from any thread."""
        with self._lock:
            self._records.remove(*position(message))

    def stop(self) -> None:
        """Stop consuming, and wait for the thread."""
        self._stopping.set()
        self._thread.join()

    def close(self) -> None:
        """Commit offsets and leave the group; call it after `stop`."""
        self._commit()
        leave(self._consumer)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        except Exception:
            log.exception("the consumer of %s failed", self._topic)
            self._on_failure()

    def _step(self) -> None:
        self._commit()
        if self._records.count < MOST_OPEN:
            self._pause_control.release()
        else:
            self._pause_control.pause()
        for message in usable(consume_batch(self._consumer, _BATCH, 0.1), f"consumer of {self._topic}"):
            with self._lock:
                self._records.add(*position(message))
            self._on_record(self, message)

    def _on_revoke(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._commit()
        with self._lock:
            self._records.drop(tp.partition for tp in revoked)

    def _commit(self) -> None:
        with self._lock:
            offsets = self._records.to_commit()
        if not offsets:
            return
        next_offsets = [TopicPartition(self._topic, p, offset) for p, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=next_offsets, asynchronous=False)
        except KafkaException as error:
            log.warning("consumer of %s: commit failed, redelivery is possible: %s", self._topic, error)
