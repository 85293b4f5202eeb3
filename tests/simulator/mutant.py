"""What a mutant is: a protocol with one rule broken, and the plan under which it shows soon."""

from typing import NamedTuple

from tests.simulator.faults import Plan
from tests.simulator.world import Protocol

PLAN = Plan(
    partitions=2,
    queue_partitions=2,
    stores=2,
    workers=2,
    builders=2,
    checkers=2,
    environments=4,
    submit_period_s=0.2,
    poison_chance=0.0,
    host_fault_chance=0.0,
    faust_fault_chance=0.0,
    kinds=("crash",),
    fault_steps=100,
)


class Mutant(NamedTuple):
    """A broken protocol, or one that differs harmlessly."""

    protocol: Protocol
    plan: Plan = PLAN
