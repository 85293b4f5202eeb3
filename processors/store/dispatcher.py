"""Enqueuing of submissions later than their request: in turns, or since the request handler did not do it.

Only `Requested` with `dispatch` come here; the fold enqueues all other attempts at once.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from confluent_kafka import Message

from processors.store.commit_policy import TRANSACTION_BYTES, Applied
from processors.store.owed_attempts import OwedAttempts
from processors.store.partition import Partition
from processors.store.turns import Turn, Turns
from topics.capacity import PeerCapacity
from topics.fold import Owed
from topics.kafka.codec import DecodeError, decode
from topics.leases import CapacityReport


class Dispatcher:
    """Submissions of the assigned partitions that are not enqueued yet, and free slots of workers."""

    def __init__(self, log_partitions: int) -> None:
        """Share free slots with other store processors, by the partitions of the log that each has."""
        self._log_partitions = log_partitions
        self._owed, self._turns, self._capacity = OwedAttempts(), Turns(), PeerCapacity()
        self._late: dict[int, list[str]] = {}
        """Ids of `_owed` that the present transaction enqueues, by partition."""

    @property
    def is_waiting(self) -> bool:
        """Whether submissions wait for free slots."""
        return len(self._turns) > 0

    def update(self, messages: list[Message], now_s: float) -> None:
        """Take free slots that workers published."""
        for message in messages:
            with suppress(DecodeError):
                self._capacity.update(decode(CapacityReport, message.value()), now_s)

    def restored(self, number: int, partition: Partition, now_s: float) -> None:
        """Begin anew with a partition, whose rows were read."""
        owed = partition.restored_owed()
        self._owed.restored(number, [id for id, each in owed if each.dispatch == "direct"], now_s)
        for id, each in owed:
            if each.dispatch == "turn":
                self._turns.add(_turn(number, id, each, maybe_enqueued=True))

    def forget(self, partitions: Collection[int]) -> None:
        """Drop partitions that were revoked, or whose memory is gone."""
        self._owed.forget(partitions)
        self._turns.forget(partitions)
        for partition in partitions:
            self._late.pop(partition, None)

    def folded(self, number: int, applied: Applied, now_s: float) -> None:
        """Take an event that was folded."""
        if applied.fact is None:
            return
        owed = applied.owed
        self._owed.folded(number, applied.id, now_s, owed=owed is not None and owed.dispatch == "direct")
        if owed is not None and owed.dispatch == "turn":
            self._turns.add(_turn(number, applied.id, owed, maybe_enqueued=False))
        else:
            self._turns.remove(applied.id, now_s)

    def enqueue(
        self, partitions: Mapping[int, Partition], end: Callable[[int], int], now_s: float
    ) -> set[int]:
        """Enqueue what is due, with the next commit of the partitions that are returned.

        `end` returns the high watermark of a partition of the log. What one transaction cannot hold is due
        again.
        """
        found, room_bytes = set[int](), TRANSACTION_BYTES
        for number, id in self._late_ids(partitions, end, now_s):
            if room_bytes > 0:
                room_bytes -= partitions[number].enqueue_owed(id, maybe_enqueued=True)
                self._late.setdefault(number, []).append(id)
                found.add(number)
        share = len(partitions) / self._log_partitions
        free, workers = self._capacity.free(now_s), self._capacity.workers(now_s)
        for _ in range(self._turns.room(free=free, workers=workers, share=share, now_s=now_s)):
            if room_bytes > 0:
                turn = self._turns.take(now_s)
                partition = partitions[turn.partition]
                room_bytes -= partition.enqueue_owed(turn.id, maybe_enqueued=turn.maybe_enqueued)
                found.add(turn.partition)
        return found

    def committed(self) -> None:
        """Record that the transaction was committed."""
        for number, ids in self._late.items():
            self._owed.enqueued(number, ids)
        self._late.clear()

    def _late_ids(
        self, partitions: Mapping[int, Partition], end: Callable[[int], int], now_s: float
    ) -> list[tuple[int, str]]:
        return [
            (number, id)
            for number, partition in partitions.items()
            for id in self._owed.due(number, now_s, end=end(number), next_offset=partition.next_offset)
        ]


def _turn(partition: int, id: str, owed: Owed, *, maybe_enqueued: bool) -> Turn:
    return Turn(partition, id, owed.owner, owed.interactive, maybe_enqueued)
