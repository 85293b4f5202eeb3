"""Runs rounds until so many steps are made; says what was survived, or how to see the failure again."""

import argparse
import logging
import sys
import time
from collections import Counter

from tests.simulator.invariants import ViolationError
from tests.simulator.world import World

ROUND_STEPS = 20_000
"""With faults; about as many follow until everything is finished."""


def main() -> int:
    """Exit code 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--round", type=int, help="only this one, as a failure names it")
    arguments = parser.parse_args()
    logging.disable()  # what ships logs each fault
    survived = Survived()
    number = arguments.round or 0
    while survived.steps < arguments.steps:
        world = World(f"{arguments.seed}/{number}")
        try:
            world.run(ROUND_STEPS)
        except ViolationError as violation:
            say(story(world, violation))
            say(f"again: python -m tests.simulator --seed {arguments.seed} --round {number}")
            return 1
        survived.add(world)
        if arguments.round is not None:
            break
        number += 1
    say(f"seed {arguments.seed}: {survived.told()}")
    return 0


class Survived:
    """What happened in all rounds."""

    def __init__(self) -> None:
        self.steps = self._rounds = self._finished = 0
        self._virtual_s = 0.0
        self._faults: Counter[str] = Counter()
        self._facts: Counter[str] = Counter()
        self._began_s = time.perf_counter()

    def add(self, world: World) -> None:
        """A round is over."""
        self._rounds += 1
        self.steps += world.scheduler.steps
        self._virtual_s += world.scheduler.now_s
        self._finished += len(world.accepted)
        self._faults += world.faults.counts
        self._facts += world.invariants.facts

    def told(self) -> str:
        """In a few lines."""
        elapsed_s = time.perf_counter() - self._began_s
        return (
            f"{self.steps} steps in {elapsed_s:.1f} s ({self.steps / elapsed_s:.0f}/s), "
            f"{self._rounds} rounds of {self._virtual_s:.0f} s in all\n"
            f"submissions finished: {self._finished}\n"
            f"facts: {_listed(self._facts)}\nfaults: {_listed(self._faults)}"
        )


def story(world: World, violation: ViolationError) -> str:
    """What led to the failure."""
    head = f"step {world.scheduler.steps}: {violation}"
    return "\n".join([head, str(world.plan), *world.trace(violation.id)])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))


def say(text: str) -> None:
    """To whoever ran this."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
