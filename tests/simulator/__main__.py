"""Runs rounds until so many steps are made; says what was survived, or how to see the failure again."""

import argparse
import sys
import time
from collections import Counter

from tests.simulator.invariants import ViolationError
from tests.simulator.world import World

ROUND_STEPS = 20_000


def main() -> int:
    """Exit code 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--round", type=int, help="only this one")
    arguments = parser.parse_args()
    steps = finished = rounds = 0
    virtual_s = 0.0
    faults: Counter[str] = Counter()
    began = time.perf_counter()
    number = arguments.round or 0
    while steps < arguments.steps:
        world = World(f"{arguments.seed}/{number}")
        try:
            world.run(ROUND_STEPS)
        except ViolationError as violation:
            tell(world, violation, arguments.seed, number)
            return 1
        steps += world.scheduler.steps
        virtual_s += world.scheduler.now_s
        finished += len(world.accepted)
        faults += world.faults.counts
        rounds += 1
        number += 1
        if arguments.round is not None:
            break
    elapsed_s = time.perf_counter() - began
    print(
        f"{steps} steps in {elapsed_s:.1f} s ({steps / elapsed_s:.0f}/s), {rounds} rounds, "
        f"{virtual_s:.0f} s of virtual time, {finished} submissions finished"
    )
    print(", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())))
    return 0


def tell(world: World, violation: ViolationError, seed: str, number: int) -> None:
    """The story, and how to see it again."""
    print(f"step {world.scheduler.steps} of round {number}: {violation}")
    print(world.plan)
    print("\n".join(world.trace(violation.id)))
    print(f"again: python -m tests.simulator --seed {seed} --round {number}")


if __name__ == "__main__":
    sys.exit(main())
