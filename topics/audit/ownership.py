"""Whether every attempt that is not over is owned: on the queue, or leased; no Kafka client here."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from topics.leases import Lease

Attempt = tuple[str, int]
"""Id and number."""


@dataclass(slots=True)
class Leases:
    """Which attempts somebody said to hold, and did not release since."""

    held: dict[Attempt, set[str]] = field(default_factory=dict)
    """The workers, by attempt."""

    def add(self, lease: Lease) -> None:
        """Take in what a worker says."""
        workers = self.held.setdefault((lease.id, lease.attempt), set())
        if lease.kind == "released":
            workers.discard(lease.worker)
        else:
            workers.add(lease.worker)

    @property
    def attempts(self) -> set[Attempt]:
        """Those that are held."""
        return {attempt for attempt, workers in self.held.items() if workers}


def ownerless(
    unfinished: Iterable[Attempt], queued: set[Attempt], leased: set[Attempt], waiting: set[str]
) -> list[Attempt]:
    """Attempts that nobody will ever work on; `waiting` ids have news that the store does not know yet."""
    return sorted(a for a in unfinished if a not in queued and a not in leased and a[0] not in waiting)
