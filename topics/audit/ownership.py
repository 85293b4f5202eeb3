"""Ownership of unfinished attempts: each must be on the queue or leased. No Kafka client here."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from topics.leases import Lease

AttemptId = tuple[str, int]
"""An attempt: id of the submission or environment, and number."""


@dataclass(slots=True)
class Leases:
    """Attempts for which a worker published a lease that it has not released."""

    held: dict[AttemptId, set[str]] = field(default_factory=dict)
    """Workers with a lease, by attempt."""

    def add(self, lease: Lease) -> None:
        """Apply a record of `X.leases`."""
        workers = self.held.setdefault((lease.id, lease.attempt), set())
        if lease.kind == "released":
            workers.discard(lease.worker)
        else:
            workers.add(lease.worker)

    @property
    def attempts(self) -> set[AttemptId]:
        """Attempts with at least one lease."""
        return {attempt for attempt, workers in self.held.items() if workers}


def unowned_attempts(
    unfinished: Iterable[AttemptId], queued: set[AttemptId], leased: set[AttemptId], waiting: set[str]
) -> list[AttemptId]:
    """Return the unfinished attempts that are neither queued nor leased, so that no worker will process them.

    Attempts of `waiting` ids, whose events the store processor has not folded yet, are left out.
    """
    return sorted(a for a in unfinished if a not in queued and a not in leased and a[0] not in waiting)
