"""Restoring a partition's memory from the store topic when the partition is assigned (rule 2)."""

import logging
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException

from processors.store.partition import Partition, StoreDefinition
from topics.kafka.ports import Clock, Consumer, Reader

log = logging.getLogger(__name__)

MakeStates = Callable[[int], MutableMapping[str, bytes]]
"""Returns an empty mapping for the rows of a partition; that of an earlier assignment is invalid then."""

_BATCH = 1000
_READ_S = 1.0
_DOUBTS = 3
"""Times that an empty store is doubted although events were folded. It is empty if no event could be read."""


class _Position(NamedTuple):
    """Where one partition stands; all offsets are of one moment, in this order."""

    committed: int
    store_end: int
    log_end: int

    @property
    def is_plausible(self) -> bool:
        """Whether the end may be the right one. A new leader may report 0 for a moment."""
        return self.store_end > 0 or self.committed == 0


class Restorer:
    """Reader of the store topic, up to an end that covers the committed offsets."""

    def __init__(
        self,
        store: StoreDefinition,
        consumer: Consumer,
        reader: Reader,
        make_states: MakeStates,
        clock: Clock,
        progress: Callable[..., None],
    ) -> None:
        """Restore with `consumer`, the group's own, so that `committed` waits for pending offsets.

        `progress` is called repeatedly, with `alive=False` while no record arrives. An exception that it
        raises ends the restore.
        """
        self._store, self._consumer, self._reader = store, consumer, reader
        self._make_states, self._clock, self._progress = make_states, clock, progress

    async def restore(self, partitions: Collection[int]) -> dict[int, Partition]:
        """Return the memory of `partitions`, of which no other object may exist.

        The order matters: committed offsets, then the end of the store, then everything below that end.
        """
        started_s = self._clock.now_s()
        positions = await self._positions(partitions)
        restored = {
            p: Partition(
                self._store,
                self._make_states(p),
                next_offset=position.committed,
                committed_offset=position.committed,
                log_end=position.log_end,
            )
            for p, position in positions.items()
        }
        await self._read(restored, {p: position.store_end for p, position in positions.items()})
        rows = sum(len(partition.states) for partition in restored.values())
        elapsed_ms = (self._clock.now_s() - started_s) * 1000
        log.info(
            "%s restored partitions %s: %d rows in %.0f ms", self._store.name, partitions, rows, elapsed_ms
        )
        return restored

    async def close(self) -> None:
        """Close the connections of the reader."""
        await self._reader.close()

    async def _positions(self, partitions: Collection[int]) -> dict[int, _Position]:
        """Return the positions of partitions; ask again for those that are not plausible."""
        found, positions = dict[int, _Position](), dict[int, _Position]()
        for doubts in range(_DOUBTS + 1):
            if doubts:
                log.info("%s asks again for the end of its store, which seems to be empty", self._store.name)
                await self._reader.reconnect()
            positions = await self._ask_for_positions([p for p in partitions if p not in found])
            found |= {p: position for p, position in positions.items() if position.is_plausible}
            if len(found) == len(partitions):
                break
        return positions | found

    async def _ask_for_positions(self, partitions: Collection[int]) -> dict[int, _Position]:
        """Ask until the broker answers."""
        events = self._store.aggregate.family.events.name
        while True:
            self._progress(alive=False)
            try:
                offsets = await self._consumer.committed(partitions)
                # Open transactions included: the end of committed records is below the first of them.
                ends = await self._reader.end_offsets(partitions)
                log_ends = await self._reader.end_offsets(partitions, events)
                return {p: _Position(offsets[p], ends[p], log_ends[p]) for p in partitions}
            except KafkaException as error:
                log.info("%s waits to restore: %s", self._store.name, error)
            await self._reader.reconnect()

    async def _read(self, restored: dict[int, Partition], ends: Mapping[int, int]) -> None:
        todo = {p for p in restored if ends[p] > 0}
        self._reader.assign(dict.fromkeys(todo, 0))
        while todo:
            messages = await self._reader.poll(_BATCH, _READ_S)
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
        self._reader.assign({})
