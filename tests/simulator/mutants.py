"""Protocols with one rule broken each; the simulator is good for something only while it finds every one."""

from dataclasses import replace
from typing import Any

from confluent_kafka import Message

from processors.health_checker.lease_monitor import LeaseMonitor, TickOutcome
from tests.simulator.dispatch_mutants import DISPATCH_MUTANTS, HARMLESS_DISPATCHERS
from tests.simulator.health import HealthChecker
from tests.simulator.mutant import PLAN, Mutant
from tests.simulator.scheduler import Future
from tests.simulator.store_mutants import HARMLESS_STORES, STORE_MUTANTS
from tests.simulator.worker_mutants import HARMLESS_WORKERS, WORKER_MUTANTS
from tests.simulator.world import Protocol
from topics.leases import Tick


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
    **WORKER_MUTANTS,
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
    **DISPATCH_MUTANTS,
}
"""By name."""
HARMLESS = {**HARMLESS_WORKERS, **HARMLESS_STORES, **HARMLESS_DISPATCHERS}
"""Not wrong: must not be found out."""
