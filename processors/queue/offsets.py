"""Which offsets of a queue may be committed, of the partitions that are ours. No Kafka here, and no clock.

A record may be committed once it is settled: what came of it is acknowledged, or its lease is, or it stands
elsewhere (rule 4); and once all before it are, since a commit is of everything before an offset.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

WorkT = TypeVar("WorkT")


@dataclass(slots=True, eq=False)
class Taken(Generic[WorkT]):
    """Work that was taken and is not committed."""

    work: WorkT
    since_s: float
    settled: bool = False
    """Nobody needs to be given it again. It is so without being told once the work is over."""


class Offsets(Generic[WorkT]):
    """What was taken and is not committed, in the order of each partition."""

    def __init__(self, over: Callable[[WorkT], bool]) -> None:
        """`over` says whether what came of work is acknowledged."""
        self._over = over
        self._taken: defaultdict[int, deque[tuple[int, Taken[WorkT] | None]]] = defaultdict(deque)
        self._next: dict[int, int] = {}
        self._first_from: dict[int, int] = {}

    def is_first_delivery(self, partition: int, offset: int, high_watermark: int) -> bool:
        """Whether nobody was given this record before.

        Somebody may have been, and died of it, where it was there before we read the first one since the
        assignment; `high_watermark` is asked for then, or later. (Where a partition's leader dies, the next
        one's may be lower for a moment: then a record may be taken for new once more.)
        """
        return offset >= self._first_from.setdefault(partition, max(high_watermark, offset + 1))

    def take(self, partition: int, offset: int, work: WorkT | None, now_s: float) -> None:
        """A record was taken; without work it needs nothing but to be committed."""
        self._taken[partition].append((offset, None if work is None else Taken(work, now_s)))

    def unsettled(
        self, partitions: Collection[int] | None = None, *, until_s: float = float("inf")
    ) -> list[Taken[WorkT]]:
        """What was taken until then, and would be lost by a commit; of all partitions, or of some."""
        return [
            each
            for partition, taken in self._taken.items()
            if partitions is None or partition in partitions
            for _, each in taken
            if each is not None and each.since_s <= until_s and not self._is_settled(each)
        ]

    def committable(self) -> dict[int, int]:
        """The next offset of each partition, where it may be committed and is not."""
        for partition, taken in self._taken.items():
            while taken and self._is_settled(taken[0][1]):
                self._next[partition] = taken.popleft()[0] + 1
        return self._next.copy()

    def committed(self, offsets: dict[int, int]) -> None:
        """These are, as `committable` said."""
        self._next = {p: offset for p, offset in self._next.items() if offset > offsets.get(p, -1)}

    def forget(self, partitions: Collection[int]) -> None:
        """They are not ours any more."""
        for by_partition in (self._taken, self._next, self._first_from):
            for partition in partitions:
                by_partition.pop(partition, None)

    def _is_settled(self, taken: Taken[WorkT] | None) -> bool:
        return taken is None or taken.settled or self._over(taken.work)
