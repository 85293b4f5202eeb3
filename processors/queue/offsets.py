"""Offsets of a queue that may be committed, for the assigned partitions. Pure: no Kafka client, no clock.

A record may be committed once it is settled (rule 4): its end or its lease is acknowledged, or it was
redirected. All records before it must be settled too, since a commit covers everything before an offset.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

WorkT = TypeVar("WorkT")


@dataclass(slots=True, eq=False)
class Delivery(Generic[WorkT]):
    """A record of a queue that was consumed and whose offset is not committed."""

    partition: int
    offset: int
    work: WorkT | None
    """Work that the record asks for; None if it is not to be done here."""
    settled: bool = False
    """True if a redelivery is unnecessary."""


class Offsets(Generic[WorkT]):
    """Records that were consumed and not committed, in the order of each partition."""

    def __init__(self) -> None:
        self._open: defaultdict[int, deque[Delivery[WorkT]]] = defaultdict(deque)
        self._next: dict[int, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether all records that were consumed are committed."""
        return not self._next and not any(self._open.values())

    def add(self, delivery: Delivery[WorkT]) -> None:
        """Add a record, which is behind all others of its partition."""
        self._open[delivery.partition].append(delivery)

    def unsettled(self, partitions: Collection[int] | None = None) -> list[Delivery[WorkT]]:
        """Return the records that a commit would lose, of all or the given partitions."""
        return [
            each
            for partition, deliveries in self._open.items()
            if partitions is None or partition in partitions
            for each in deliveries
            if not each.settled
        ]

    def unsettled_to(self, delivery: Delivery[WorkT]) -> list[Delivery[WorkT]]:
        """Return the records that a commit of `delivery` would lose, itself included."""
        return [each for each in self.unsettled({delivery.partition}) if each.offset <= delivery.offset]

    def committable(self) -> dict[int, int]:
        """Return the next offset of each partition that has one to commit."""
        for partition, deliveries in self._open.items():
            while deliveries and deliveries[0].settled:
                self._next[partition] = deliveries.popleft().offset + 1
        return self._next.copy()

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Remove offsets of `committable` that were committed."""
        self._next = {p: offset for p, offset in self._next.items() if offset > offsets.get(p, -1)}

    def forget(self, partitions: Collection[int]) -> None:
        """Forget partitions that are not assigned any more."""
        for by_partition in (self._open, self._next):
            for partition in partitions:
                by_partition.pop(partition, None)
