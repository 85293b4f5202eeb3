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
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.submissions.webhook import BODY_BYTES

log = logging.getLogger(__name__)

_BATCH = 100
MOST_OPEN, MOST_OPEN_BYTES = 10_000, 128 * MiB
"""Records that may be open at a time, and their bytes, most of which are of answers. Beyond either the
consumer pauses, which bounds memory."""


class OpenRecords:
    """Open records: consumed, and not yet delivered or published again. Pure."""

    def __init__(self) -> None:
        self._open: defaultdict[int, dict[int, int]] = defaultdict(dict)
        """Bytes by offset of each partition, in ascending order of the offsets."""
        self._bytes = 0
        self._read_to: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    def add(self, partition: int, offset: int, size_bytes: int) -> None:
        """Add a record that was consumed."""
        self._open[partition][offset] = size_bytes
        self._bytes += size_bytes
        self._read_to[partition] = offset + 1

    def remove(self, partition: int, offset: int) -> None:
        """Remove a record that need not be redelivered; do nothing if its partition was revoked."""
        if partition in self._open:
            self._bytes -= self._open[partition].pop(offset, 0)

    def drop(self, partitions: Iterable[int]) -> None:
        """Drop the records of revoked partitions."""
        for partition in partitions:
            self._bytes -= sum(self._open[partition].values())
            for known in (self._open, self._read_to, self._committed):
                known.pop(partition, None)

    @property
    def room(self) -> int:
        """Return how many records may be consumed now, also if each is as large as a record can be."""
        count = sum(map(len, self._open.values()))
        return max(0, min(MOST_OPEN - count, (MOST_OPEN_BYTES - self._bytes) // BODY_BYTES))

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
        if room := self._records.room:
            self._pause_control.release()
        else:
            self._pause_control.pause()
        batch = consume_batch(self._consumer, max(1, min(_BATCH, room)), 0.1)
        for message in usable(batch, f"consumer of {self._topic}"):
            with self._lock:
                self._records.add(*position(message), len(message.value() or b""))
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
