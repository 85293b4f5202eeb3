"""When the store processor commits.

A transaction costs the broker many requests, so some facts wait for the next ones, which usually come sooner.
All decisions are pure: the shell passes the time of a monotonic clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from topics.fold import Owed
from topics.model import Model
from topics.request.limits import MiB

LINGER_S = 0.1
"""Linger of a transaction: how long it may wait for more events if it produces nothing but rows. Clients of
HTTP get states from the events, so only readers of the store's topic wait."""
TRANSACTION_BYTES = 16 * MiB
"""Size at which a transaction is committed without more events, so that it ends within its timeout."""


class Applied(NamedTuple):
    """Change by the fold of one event, as far as it matters for the time of the commit."""

    id: str
    """Id of the aggregate; empty for an event that could not be read."""
    fact: type[Model] | None
    """Type of the fact, None if the state did not change."""
    has_effects: bool
    """Whether something is to be produced besides the row."""
    size_bytes: int
    """Size of what is to be produced; a row that changes several times counts each time."""
    owed: Owed | None = None
    """Dispatch of the attempt if the store processor has to enqueue it later, see `Dispatcher`."""


@dataclass(slots=True)
class _Assigned:
    """State of an assigned partition since its restore."""

    deadline_s: float | None = None
    """Time at which its events are committed, None if all of them are."""
    size_bytes: int = 0


class CommitPolicy:
    """Linger and size of the transactions of one store processor."""

    def __init__(
        self, lingers_s: Mapping[type[Model], float], *, transaction_bytes: int = TRANSACTION_BYTES
    ) -> None:
        """Let facts of the types in `lingers_s` wait for so many seconds; other facts do not wait."""
        self._lingers_s, self._transaction_bytes = lingers_s, transaction_bytes
        self._partitions: dict[int, _Assigned] = {}

    def restored(self, partitions: Iterable[int]) -> None:
        """Begin anew with partitions whose memory was restored."""
        self._partitions.update({number: _Assigned() for number in partitions})

    def forget(self, partitions: Iterable[int]) -> None:
        """Drop partitions that were revoked, or whose memory is gone."""
        for number in partitions:
            self._partitions.pop(number, None)

    def folded(self, partition: int, applied: Applied, now_s: float) -> None:
        """Record the fold of one event."""
        assigned = self._partitions[partition]
        linger_s = LINGER_S
        if applied.fact is not None:
            linger_s = self._lingers_s.get(applied.fact, 0.0)
        if applied.has_effects:
            linger_s = 0.0
        deadline_s = now_s + linger_s
        if assigned.deadline_s is None or deadline_s < assigned.deadline_s:
            assigned.deadline_s = deadline_s
        assigned.size_bytes += applied.size_bytes

    def committed(self) -> None:
        """Record that all events that were folded are committed."""
        for assigned in self._partitions.values():
            assigned.deadline_s, assigned.size_bytes = None, 0

    @property
    def is_full(self) -> bool:
        """Whether no event may be added to the transaction."""
        return sum(each.size_bytes for each in self._partitions.values()) >= self._transaction_bytes

    def is_due(self, now_s: float) -> bool:
        """Return whether the events that were folded are to be committed now."""
        wait_s = self.wait_s(now_s)
        return wait_s is not None and (wait_s == 0 or self.is_full)

    def wait_s(self, now_s: float) -> float | None:
        """Return the time until the commit in seconds, or None if all events are committed."""
        deadlines_s = [each.deadline_s for each in self._partitions.values() if each.deadline_s is not None]
        return max(0.0, min(deadlines_s) - now_s) if deadlines_s else None
