"""Offsets of a queue that may be committed, for the assigned partitions. Pure: no Kafka client, no clock.

A record may be committed once it is settled (rule 4): its end or its lease is acknowledged, or it was
redirected. All records before it must be settled too, since a commit covers everything before an offset.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

WorkT = TypeVar("WorkT")


@dataclass(slots=True, eq=False)
class Taken(Generic[WorkT]):
    """Work that was consumed and whose offset is not committed."""

    work: WorkT
    since_s: float
    settled: bool = False
    """True if a redelivery is unnecessary. Finished work counts as settled without it."""


class Offsets(Generic[WorkT]):
    """Records that were consumed and not committed, in the order of each partition."""

    def __init__(self, over: Callable[[WorkT], bool]) -> None:
        """`over` returns whether the end of work is acknowledged."""
        self._over = over
        self._taken: defaultdict[int, deque[tuple[int, Taken[WorkT] | None]]] = defaultdict(deque)
        self._next: dict[int, int] = {}
        self._first_from: dict[int, int] = {}

    def is_first_delivery(self, partition: int, offset: int, high_watermark: int) -> bool:
        """Return whether no other process can have received this record before.

        Another process may have received it, and crashed because of it, if it existed before the first record
        was read since the assignment. `high_watermark` is read then, or later. (After a leader's failure the
        next leader's may be lower for a moment, so that a redelivery is taken for a first delivery.)
        """
        return offset >= self._first_from.setdefault(partition, max(high_watermark, offset + 1))

    def take(self, partition: int, offset: int, work: WorkT | None, now_s: float) -> None:
        """Add a consumed record; without work it is settled at once."""
        self._taken[partition].append((offset, None if work is None else Taken(work, now_s)))

    def unsettled(
        self, partitions: Collection[int] | None = None, *, until_s: float = float("inf")
    ) -> list[Taken[WorkT]]:
        """Return work consumed until `until_s` that a commit would lose, of all or the given partitions."""
        return [
            each
            for partition, taken in self._taken.items()
            if partitions is None or partition in partitions
            for _, each in taken
            if each is not None and each.since_s <= until_s and not self._is_settled(each)
        ]

    def committable(self) -> dict[int, int]:
        """Return the next offset of each partition that has one to commit."""
        for partition, taken in self._taken.items():
            while taken and self._is_settled(taken[0][1]):
                self._next[partition] = taken.popleft()[0] + 1
        return self._next.copy()

    def committed(self, offsets: dict[int, int]) -> None:
        """Remove offsets of `committable` that were committed."""
        self._next = {p: offset for p, offset in self._next.items() if offset > offsets.get(p, -1)}

    def forget(self, partitions: Collection[int]) -> None:
        """Forget partitions that are not assigned any more."""
        for by_partition in (self._taken, self._next, self._first_from):
            for partition in partitions:
                by_partition.pop(partition, None)

    def _is_settled(self, taken: Taken[WorkT] | None) -> bool:
        return taken is None or taken.settled or self._over(taken.work)
