"""Expiry of the leases of one partition. Pure: every time is the append time of a record.

A lease is an attempt held by a worker. Two workers may hold the same attempt after a redelivery. Only the
highest attempt of an id matters: a later one exists because the earlier ones are over (rule 5).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from topics.leases import Lease, Tick


class Held(NamedTuple):
    """Lease of one worker on one attempt: a key of the table, which outlives an assignment."""

    id: str
    attempt: int
    worker: str


class TableChange(NamedTuple):
    """Table entries that a record adds and removes. A renewal changes none: times are not stored."""

    added: tuple[Held, ...] = ()
    removed: tuple[Held, ...] = ()


class Late(NamedTuple):
    """Attempt of which no worker renewed its lease in time."""

    id: str
    attempt: int
    workers: tuple[str, ...]

    def held(self) -> tuple[Held, ...]:
        """Return the leases on this attempt, one for each worker."""
        return tuple(Held(self.id, self.attempt, worker) for worker in self.workers)


class TickOutcome(NamedTuple):
    """Expired leases at one tick of the monitor's own."""

    late: tuple[Late, ...]
    clocks_started: bool
    """True if all timeouts were restarted at this tick, so that no lease can be late yet."""


@dataclass(slots=True)
class _Attempt:
    """Highest attempt of an id, with its workers."""

    number: int
    renewed_s: dict[str, float] = field(default_factory=dict)
    """Append time of each worker's last renewal; meaningless before the first own tick."""


class LeaseMonitor:
    """Table of leases of one partition, from its assignment on.

    No lease expires before the first tick with the monitor's own mark, which restarts all timeouts: renewals
    may have waited in the log while no health checker consumed it. For the same reason timeouts restart when
    two such ticks are too far apart.
    """

    def __init__(self, held: Iterable[Held], *, mark: str, timeout_s: float, tick_period_s: float) -> None:
        """Start with the leases in the table.

        Args:
            held: leases of this partition, in any order.
            mark: mark of this monitor's own ticks; unique, and made after the assignment.
            timeout_s: time without a renewal after which a lease expires.
            tick_period_s: time between two ticks.
        """
        self.mark = mark
        self._timeout_s = timeout_s
        self._silence_s = 2 * tick_period_s
        self._last_tick_s: float | None = None
        self._attempts: dict[str, _Attempt] = {}
        for lease in held:
            self._renew(lease, 0.0)

    def observe(self, lease: Lease, now_s: float) -> TableChange:
        """Apply a record of a worker, and return the changes of the table."""
        held = Held(lease.id, lease.attempt, lease.worker)
        if lease.kind == "released":
            return self._release(held)
        # A record that follows a tick is not older, even if the broker's clock was set back meanwhile.
        return self._renew(held, now_s if self._last_tick_s is None else max(now_s, self._last_tick_s))

    def _renew(self, held: Held, now_s: float) -> TableChange:
        current = self._attempts.get(held.id)
        if current and held.attempt < current.number:
            return TableChange()
        if current and held.attempt == current.number:
            known = held.worker in current.renewed_s
            current.renewed_s[held.worker] = now_s
            return TableChange() if known else TableChange(added=(held,))
        self._attempts[held.id] = _Attempt(held.attempt, {held.worker: now_s})
        superseded = _held(held.id, current) if current else ()
        return TableChange(added=(held,), removed=superseded)

    def _release(self, held: Held) -> TableChange:
        current = self._attempts.get(held.id)
        if not current or current.number != held.attempt or held.worker not in current.renewed_s:
            return TableChange()
        del current.renewed_s[held.worker]
        if not current.renewed_s:
            del self._attempts[held.id]
        return TableChange(removed=(held,))

    def tick(self, tick: Tick, now_s: float) -> TickOutcome | None:
        """Return the leases that are late at this tick, or None if the tick has another monitor's mark.

        They are late at each further tick until they are removed.
        """
        if tick.mark != self.mark:
            return None
        silent = self._last_tick_s is None or abs(now_s - self._last_tick_s) > self._silence_s
        self._last_tick_s = now_s
        if silent:
            self._restart_clocks(now_s)
        late = tuple(
            Late(id, attempt.number, tuple(attempt.renewed_s))
            for id, attempt in self._attempts.items()
            if all(now_s - renewed_s > self._timeout_s for renewed_s in attempt.renewed_s.values())
        )
        return TickOutcome(late, clocks_started=silent)

    def _restart_clocks(self, now_s: float) -> None:
        for attempt in self._attempts.values():
            attempt.renewed_s = dict.fromkeys(attempt.renewed_s, now_s)

    def remove(self, late: Late) -> TableChange:
        """Remove an attempt whose LeaseExpired was published, and return the changes of the table."""
        changes = [self._release(held) for held in late.held()]
        return TableChange(removed=tuple(held for change in changes for held in change.removed))

    def __len__(self) -> int:
        """Return the number of ids with a leased attempt."""
        return len(self._attempts)


def _held(id: str, attempt: _Attempt) -> tuple[Held, ...]:
    return tuple(Held(id, attempt.number, worker) for worker in attempt.renewed_s)
