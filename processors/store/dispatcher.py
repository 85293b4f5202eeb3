"""Enqueuing of submissions later than their request: in turns, or since the request handler did not do it.

Only `Requested` with `dispatch` come here; the fold enqueues all other attempts at once.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from confluent_kafka import Message

from processors.store.commit_policy import TRANSACTION_BYTES, Applied
from processors.store.owed_attempts import OwedAttempts
from processors.store.partition import Partition
from processors.store.turns import Turn, Turns
from topics.capacity import PeerCapacity
from topics.fold import Owed

_MOST_TURNS = 100
"""Turns that are taken at once, which bounds a transaction that they may be part of."""


class DueTurn(NamedTuple):
    """A submission whose turn it is."""

    turn: Turn
    place: int | None
    """Partition of the queue; None if any will do."""


Ends = Callable[[int], int]
"""Function from a partition of the log to its high watermark, negative if it is not known yet."""


class Dispatcher:
    """Submissions of the assigned partitions that are not enqueued yet, and free slots of workers."""

    def __init__(self, log_partitions: int) -> None:
        """Share free slots with other store processors, by the partitions of the log that each has."""
        self._log_partitions = log_partitions
        self._owed, self._turns = OwedAttempts(), Turns()
        self._capacity = PeerCapacity(until_reported=True)
        self._restored: dict[int, dict[str, Turn]] = {}
        """Turns from rows by partition and id, until the events that existed at the restore are folded."""
        self._latest_is_direct = False
        """Whether ingest enqueued the latest work that was folded."""
        self._late: dict[int, list[str]] = {}
        """Ids of `_owed` that the present transaction enqueues, by partition."""

    @property
    def is_waiting(self) -> bool:
        """Whether submissions wait for free slots."""
        return len(self._turns) > 0 or any(self._restored.values())

    @property
    def may_wait(self) -> bool:
        """Whether the next events may wait, since ingest enqueues all work itself at the moment."""
        return self._latest_is_direct and not self.is_waiting

    def update(self, messages: list[Message], now_s: float) -> None:
        """Take free slots that workers published."""
        self._capacity.read(messages, now_s)

    def restored(self, number: int, partition: Partition, now_s: float) -> None:
        """Begin anew with a partition, whose rows were read."""
        owed = partition.restored_owed()
        self._owed.restored(number, [id for id, each in owed if each.dispatch == "direct"], now_s)
        turns = [_turn(number, id, each, maybe_enqueued=True) for id, each in owed if each.dispatch == "turn"]
        self._restored[number] = {turn.id: turn for turn in turns}

    def forget(self, partitions: Collection[int]) -> None:
        """Drop partitions that were revoked, or whose memory is gone."""
        self._owed.forget(partitions)
        self._turns.forget(partitions)
        for partition in partitions:
            self._restored.pop(partition, None)
            self._late.pop(partition, None)

    def folded(self, number: int, applied: Applied, now_s: float, *, existed: bool) -> None:
        """Take an event that was folded; `existed` is whether it did when the partition was restored."""
        if applied.fact is None:
            return
        owed = applied.owed
        if owed is not None or applied.has_effects:
            self._latest_is_direct = owed is not None and owed.dispatch == "direct"
        self._owed.folded(number, applied.id, now_s, owed=owed is not None and owed.dispatch == "direct")
        if owed is not None and owed.dispatch == "turn":
            turn = _turn(number, applied.id, owed, maybe_enqueued=existed)
            if existed:  # the store processor before this one may have enqueued it, and a worker started it
                self._restored.setdefault(number, {})[applied.id] = turn
            else:
                self._turns.add(turn)
        else:
            self._turns.remove(applied.id, now_s)
            self._restored.get(number, {}).pop(applied.id, None)

    def enqueue(self, partitions: Mapping[int, Partition], end: Ends, now_s: float) -> set[int]:
        """Enqueue what ingest did not, with the next commit of the partitions that are returned.

        What one transaction cannot hold is due again.
        """
        self._let_restored_wait(partitions)
        found, room_bytes = set[int](), TRANSACTION_BYTES
        for number, id in self._late_ids(partitions, end, now_s):
            if room_bytes > 0:
                room_bytes -= partitions[number].enqueue_owed(id, maybe_enqueued=True)
                self._late.setdefault(number, []).append(id)
                found.add(number)
        return found

    def due_turns(self, partitions: int, now_s: float) -> list[DueTurn]:
        """Return the submissions that are to be enqueued now; with so many `partitions` assigned.

        They count as enqueued.
        """
        places = self._places(partitions / self._log_partitions, now_s)
        return [DueTurn(self._turns.take(now_s), place) for place in places if len(self._turns)]

    def put_back(self, turn: Turn) -> None:
        """Let a submission wait again whose record may be missing on the queue."""
        self._turns.put_back(turn)

    def committed(self) -> None:
        """Record that the transaction was committed."""
        for number, ids in self._late.items():
            self._owed.enqueued(number, ids)
        self._late.clear()

    def _let_restored_wait(self, partitions: Mapping[int, Partition]) -> None:
        """Let restored turns wait, the oldest first, once the events that existed then are folded.

        Otherwise those would be enqueued again that ended while no store processor ran.
        """
        if self._restored and all(
            partitions[number].next_offset >= partitions[number].log_end for number in self._restored
        ):
            turns = [turn for by_id in self._restored.values() for turn in by_id.values()]
            for turn in sorted(turns, key=lambda turn: turn.created_at):
                self._turns.add(turn)
            self._restored.clear()

    def _places(self, share: float, now_s: float) -> list[int | None]:
        """Return a partition of the queue for each submission to be enqueued; None if any will do."""
        if not len(self._turns):
            return []
        free = min(len(self._turns), math.ceil(share * self._capacity.free(now_s)), _MOST_TURNS)
        choices = (self._capacity.choose(now_s) for _ in range(free))
        places: list[int | None] = [choice.partition for choice in choices if choice]
        surplus = self._turns.surplus(workers=self._capacity.workers(now_s), share=share, now_s=now_s)
        return places + [None] * (min(surplus, _MOST_TURNS) - len(places))

    def _late_ids(
        self, partitions: Mapping[int, Partition], end: Ends, now_s: float
    ) -> list[tuple[int, str]]:
        return [
            (number, id)
            for number, partition in partitions.items()
            for id in self._owed.due(number, now_s, end=end(number), next_offset=partition.next_offset)
        ]


def _turn(partition: int, id: str, owed: Owed, *, maybe_enqueued: bool) -> Turn:
    return Turn(partition, id, owed.owner, owed.interactive, owed.created_at, maybe_enqueued)
