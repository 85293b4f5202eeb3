"""Which leases of a partition are late. It knows no clock and no Kafka: every time is a record's append time.

A lease is an attempt held by a worker; two workers may hold the same attempt, after a redelivery. Of an id
only the highest attempt matters: a later one exists because the earlier ones are over (rule 5).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from topics.leases import Lease, Tick


class Held(NamedTuple):
    """That an attempt is held by a worker: what outlives an assignment, as a key of the table."""

    id: str
    attempt: int
    worker: str


class TableChange(NamedTuple):
    """What a record changes in the table. A renewal changes nothing: times are not written down."""

    added: tuple[Held, ...] = ()
    removed: tuple[Held, ...] = ()


class Late(NamedTuple):
    """An attempt none of whose workers was heard of in time."""

    id: str
    attempt: int
    workers: tuple[str, ...]

    def held(self) -> tuple[Held, ...]:
        """Its leases."""
        return tuple(Held(self.id, self.attempt, worker) for worker in self.workers)


class TickOutcome(NamedTuple):
    """What a tick of one's own says."""

    late: tuple[Late, ...]
    clocks_started: bool
    """Nothing before this tick counts against anybody."""


@dataclass(slots=True)
class _Attempt:
    """The highest attempt of an id."""

    number: int
    heard_s: dict[str, float] = field(default_factory=dict)
    """When each worker was last heard of; meaningless until the clocks were started."""


class LeaseMonitor:
    """The leases of one partition, from its assignment on.

    Nobody is late before the first tick with the monitor's own mark, which starts all clocks: a worker's
    renewals may have waited in the log as long as nobody read it. For the same reason clocks start again
    when two such ticks are too far apart.
    """

    def __init__(self, held: Iterable[Held], *, mark: str, timeout_s: float, tick_period_s: float) -> None:
        """Start with the leases that the table has.

        Args:
            held: leases of this partition, in any order.
            mark: random mark of this monitor's own ticks, made after the assignment.
            timeout_s: for how long a worker may not be heard of.
            tick_period_s: how far apart ticks should be.
        """
        self.mark = mark
        self._timeout_s = timeout_s
        self._silence_s = 2 * tick_period_s
        self._last_tick_s: float | None = None
        self._attempts: dict[str, _Attempt] = {}
        for lease in held:
            self._hear(lease, 0.0)

    def observe(self, lease: Lease, now_s: float) -> TableChange:
        """Take note of what a worker says."""
        held = Held(lease.id, lease.attempt, lease.worker)
        if lease.kind == "released":
            return self._release(held)
        # What stands after a tick came after it, however the broker's clock was set meanwhile.
        return self._hear(held, now_s if self._last_tick_s is None else max(now_s, self._last_tick_s))

    def _hear(self, held: Held, now_s: float) -> TableChange:
        current = self._attempts.get(held.id)
        if current and held.attempt < current.number:
            return TableChange()
        if current and held.attempt == current.number:
            known = held.worker in current.heard_s
            current.heard_s[held.worker] = now_s
            return TableChange() if known else TableChange(added=(held,))
        self._attempts[held.id] = _Attempt(held.attempt, {held.worker: now_s})
        superseded = _held(held.id, current) if current else ()
        return TableChange(added=(held,), removed=superseded)

    def _release(self, held: Held) -> TableChange:
        current = self._attempts.get(held.id)
        if not current or current.number != held.attempt or held.worker not in current.heard_s:
            return TableChange()
        del current.heard_s[held.worker]
        if not current.heard_s:
            del self._attempts[held.id]
        return TableChange(removed=(held,))

    def tick(self, tick: Tick, now_s: float) -> TickOutcome | None:
        """Who is late now, and at the next ticks until removed; None where the tick is somebody else's."""
        if tick.mark != self.mark:
            return None
        silent = self._last_tick_s is None or abs(now_s - self._last_tick_s) > self._silence_s
        self._last_tick_s = now_s
        if silent:
            self._restart_clocks(now_s)
        late = tuple(
            Late(id, attempt.number, tuple(attempt.heard_s))
            for id, attempt in self._attempts.items()
            if all(now_s - heard_s > self._timeout_s for heard_s in attempt.heard_s.values())
        )
        return TickOutcome(late, clocks_started=silent)

    def _restart_clocks(self, now_s: float) -> None:
        for attempt in self._attempts.values():
            attempt.heard_s = dict.fromkeys(attempt.heard_s, now_s)

    def remove(self, late: Late) -> TableChange:
        """Forget an attempt that was declared dead."""
        changes = [self._release(held) for held in late.held()]
        return TableChange(removed=tuple(held for change in changes for held in change.removed))

    def __len__(self) -> int:
        """How many attempts are held."""
        return len(self._attempts)


def _held(id: str, attempt: _Attempt) -> tuple[Held, ...]:
    return tuple(Held(id, attempt.number, worker) for worker in attempt.heard_s)
