"""Restoring a partition's memory from the store topic when the partition is assigned (rule 2)."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from processors.store.partition import Partition, StoreDefinition
from processors.store.states import States
from topics.kafka.clients import READER, connection, consume_batch, consumer_config
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

_BATCH = 1000
_DOUBTS = 3
"""Times that an empty store is doubted although events were folded. It is empty if no event could be read."""


class Restorer:
    """Reader of the store topic, up to an end that covers the committed offsets."""

    def __init__(
        self, settings: KafkaSettings, store: StoreDefinition, folder: Path, progress: Callable[..., None]
    ) -> None:
        """Keep the rows below `folder`, which this instance alone uses.

        `progress` is called repeatedly, with `alive=False` while no record arrives. An exception that it
        raises ends the restore.
        """
        self._folder = folder
        self._states: dict[int, States] = {}
        self._settings = settings
        self._store = store
        self._progress = progress
        self._admin = AdminClient(connection(settings))
        options = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
        self._reader = Consumer(consumer_config(settings, READER) | options)
        # Without metadata the first restore takes 500 ms more.
        self._reader.list_topics(store.aggregate.family.store.name, 10)

    def restore(self, consumer: Consumer, partitions: list[int]) -> dict[int, Partition]:
        """Return the memory of `partitions`, of which no other object may exist.

        `consumer` is the group's own and read_committed, so that `committed()` waits for pending offsets.
        The order matters: committed offsets, then the end of the store, then everything below that end.
        """
        started = time.monotonic()
        offsets, ends = self._committed_and_ends(consumer, partitions)
        restored = {
            p: Partition(self._store, self._fresh(p), next_offset=offsets[p], committed_offset=offsets[p])
            for p in partitions
        }
        self._read(restored, ends)
        rows = sum(len(partition.states) for partition in restored.values())
        elapsed_ms = (time.monotonic() - started) * 1000
        log.info(
            "%s restored partitions %s: %d rows in %.0f ms", self._store.name, partitions, rows, elapsed_ms
        )
        return restored

    def close(self) -> None:
        """Close the connections and remove the files."""
        self._reader.close()
        for states in self._states.values():
            states.close()

    def _fresh(self, partition: int) -> States:
        """Return an empty database; one of an earlier assignment is removed."""
        if (earlier := self._states.pop(partition, None)) is not None:
            earlier.close()
        self._states[partition] = States(self._folder / str(partition))
        return self._states[partition]

    def _committed_and_ends(
        self, consumer: Consumer, partitions: list[int]
    ) -> tuple[dict[int, int], dict[int, int]]:
        doubts = 0
        while True:
            self._progress(alive=False)
            try:
                offsets, ends = self._committed(consumer, partitions), self._ends(partitions)
            except KafkaException as error:
                log.info("%s waits to restore: %s", self._store.name, error)
            else:
                if doubts == _DOUBTS or all(ends[p] > 0 or offsets[p] == 0 for p in partitions):
                    return offsets, ends
                doubts += 1
                log.info("%s asks again for the end of its store, which seems to be empty", self._store.name)
            self._refresh()

    def _committed(self, consumer: Consumer, partitions: list[int]) -> dict[int, int]:
        asked = [TopicPartition(self._store.aggregate.family.events.name, p) for p in partitions]
        offsets = consumer.committed(asked, timeout=10)
        for offset in offsets:
            if offset.error:  # errors come per partition, not as an exception
                raise KafkaException(offset.error)
        return {offset.partition: max(offset.offset, 0) for offset in offsets}

    def _ends(self, partitions: list[int]) -> dict[int, int]:
        # read_uncommitted: the read_committed end stops below the first open transaction.
        futures = self._admin.list_offsets(
            {
                TopicPartition(self._store.aggregate.family.store.name, p): OffsetSpec.latest()
                for p in partitions
            },
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=10,
        )
        ends = {tp.partition: future.result().offset for tp, future in futures.items()}
        if min(ends.values(), default=0) < 0:
            # A new leader whose high watermark is behind (KIP-207): taken for an end, it would hide all rows.
            raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        return ends

    def _refresh(self) -> None:
        """Replace the client, which may keep stale leader epochs or time out for ever after a restart."""
        self._admin = AdminClient(connection(self._settings))
        try:
            self._admin.list_topics(timeout=5)
        except KafkaException:
            time.sleep(0.1)

    def _read(self, restored: dict[int, Partition], ends: dict[int, int]) -> None:
        todo = {p for p in restored if ends[p] > 0}
        topic = self._store.aggregate.family.store.name
        self._reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in todo])
        while todo:
            messages = consume_batch(self._reader, _BATCH, 1.0)
            self._progress(alive=bool(messages))
            for message in messages:
                partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
                if error is None:
                    restored[partition].restore(message)
                    offset += 1
                elif error.code() != KafkaError._PARTITION_EOF:
                    continue
                # An EOF's offset counts transaction markers and aborted records, the last record's does not.
                if offset >= ends[partition]:
                    todo.discard(partition)
        self._reader.unassign()
