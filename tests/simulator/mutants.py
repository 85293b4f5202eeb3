"""Protocols with one rule broken each; the simulator is good for something only while it finds every one."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from confluent_kafka import Message

from processors.health_checker.lease_monitor import LeaseMonitor, TickOutcome
from processors.queue.redistribution import Redirect
from tests.simulator.attempts import COMMIT_PERIOD_S, Attempt, Attempts
from tests.simulator.health import HealthChecker
from tests.simulator.mutant import PLAN, Mutant
from tests.simulator.offsets import Taken
from tests.simulator.scheduler import Cancelled, Future, Task, Wait, all_of
from tests.simulator.store_mutants import HARMLESS_STORES, STORE_MUTANTS
from tests.simulator.world import Protocol
from topics.fold import QueuedWork
from topics.leases import Tick


class CommitsFirst(Attempts):
    """Commits the queue's offset before the lease is acknowledged (rule 4)."""

    def _secure(self, unsettled: list[Taken]) -> Wait:
        for each in unsettled:
            each.settled = True
        yield from self._commit()
        for each in unsettled:
            self._take_lease(each.work.id, each.work.attempt)
            self._deliver(each.work)


class CommitsWhatRuns(Attempts):
    """Commits what runs at once before it is leased or over (rule 4)."""

    def _taken(self, message: Message, work: QueuedWork | None) -> None:
        super()._taken(message, None)


class CommitsAhead(Attempts):
    """Commits what is over, whatever runs before it in its partition (rule 4)."""

    def _commit(self) -> Wait:
        for taken in self._offsets.unsettled():
            if taken.since_s < self._world.scheduler.now_s - COMMIT_PERIOD_S:
                taken.settled = True
        yield from super()._commit()


class BlamesNobody(Attempts):
    """Runs what was delivered before without a lease, so that nobody is blamed for what it does (rule 5)."""

    def _is_first_delivery(self, message: Message) -> bool:
        return True


class ReleasesAlways(Attempts):
    """Releases what was never leased: no rule says that it must not."""

    def _release(self, id: str, attempt: int) -> None:
        self._process.leases.setdefault((id, attempt), self._world.scheduler.now_s)
        super()._release(id, attempt)


class ReleasesFirst(Attempts):
    """Releases the lease before what became of the attempt is acknowledged (rule 4)."""

    def _see_through(self, attempt: Attempt, task: Task) -> Wait:
        yield task.done
        self._release(attempt.work.id, attempt.work.attempt)
        del self._held[attempt.work.id, attempt.work.attempt]


class HandsBackSilently(Attempts):
    """Lets go at a stop without saying HandedBack (rule 4)."""

    def _carry_out(self, attempt: Attempt) -> Wait:
        with suppress(Cancelled):
            yield from self._craft.carry_out(attempt)


class MovesFirst(Attempts):
    """Commits what it hands back before that is acknowledged."""

    def _move(self, moving: list[Redirect], messages: list[Message]) -> Wait:
        for message in messages:
            self._taken(message, None)
        yield from self._commit()
        yield from all_of([self._handing_back.produce(*each) for each in moving])


class KeepsWaiting(Attempts):
    """Keeps some of what waits when its partition is revoked, and later commits behind what it let go."""

    def _forget(self, partitions: list[int]) -> None:
        kept = self._waiting[1:]
        super()._forget(partitions)
        self._waiting = kept


class AnyTick(LeaseMonitor):
    """Checks leases at any tick (health checkers count their own ticks alone)."""

    def tick(self, tick: Tick, now_s: float) -> TickOutcome | None:
        return super().tick(Tick(mark=self.mark), now_s)


class ImpatientMonitor(LeaseMonitor):
    """Does not start the clocks anew after a silence."""

    def _restart_clocks(self, now_s: float) -> None:
        pass


class ForgetsFirst(HealthChecker):
    """Lets the entries go before LeaseExpired is acknowledged."""

    def _publish_expiry(self, late: Any, tick: Message) -> Future:
        super()._publish_expiry(late, tick)
        done = Future(self._world.scheduler)
        done.set()
        return done


_RIGHT = Protocol()
MUTANTS = {
    "commits first": Mutant(replace(_RIGHT, attempts=CommitsFirst)),
    "commits what runs": Mutant(replace(_RIGHT, attempts=CommitsWhatRuns)),
    "commits ahead": Mutant(replace(_RIGHT, attempts=CommitsAhead)),
    "blames nobody": Mutant(
        replace(_RIGHT, attempts=BlamesNobody), PLAN._replace(poison_chance=0.1, fault_steps=10_000)
    ),
    "releases first": Mutant(replace(_RIGHT, attempts=ReleasesFirst)),
    "hands back silently": Mutant(
        replace(_RIGHT, attempts=HandsBackSilently), PLAN._replace(kinds=("stop",))
    ),
    "moves first": Mutant(
        replace(_RIGHT, attempts=MovesFirst), PLAN._replace(submit_period_s=0.1, fault_steps=50)
    ),
    "keeps waiting": Mutant(
        replace(_RIGHT, attempts=KeepsWaiting),
        PLAN._replace(kinds=("rebalance", "crash"), queue_partitions=3, workers=3, fault_steps=50),
    ),
    "any tick": Mutant(
        replace(_RIGHT, monitor=AnyTick),
        PLAN._replace(kinds=("rebalance", "outage"), faust_fault_chance=0.8, fault_steps=500),
    ),
    "impatient": Mutant(
        replace(_RIGHT, monitor=ImpatientMonitor),
        PLAN._replace(kinds=("rebalance",), submit_period_s=0.05, fault_steps=60),
    ),
    "forgets first": Mutant(replace(_RIGHT, checker=ForgetsFirst)),
    **STORE_MUTANTS,
}
"""By name."""
HARMLESS = {"releases always": Mutant(replace(_RIGHT, attempts=ReleasesAlways)), **HARMLESS_STORES}
"""Not wrong: must not be found out."""
