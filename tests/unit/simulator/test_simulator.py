"""The protocol holds in the simulator, and the simulator finds protocols that do not."""

import os

import pytest

from tests.simulator.invariants import ViolationError
from tests.simulator.mutants import HARMLESS, MUTANTS
from tests.simulator.world import World

ROUND_STEPS = 20_000
MUTANT_ROUNDS = 25


FOUND = [
    pytest.param("29895/5", id="chance ends all builders that an environment is allowed"),
    pytest.param("3688918303/17", id="a lease is released before it is known to be held"),
    pytest.param("2359175633/23", id="a transaction follows one that was fenced before it was sent"),
    pytest.param("1010629202/2", id="a partition seems empty while another one is doubted, which is"),
    pytest.param("1027217229/19", id="more faults within transactions than there are transactions"),
]


@pytest.mark.parametrize("round", range(5))
def test_nothing_is_lost_stuck_or_done_twice(round: int) -> None:
    """`make unit` prints its seed; `python -m tests.simulator --seed SEED --round N` shows a failure."""
    world = World(f"{os.environ.get('SIMULATOR_SEED', 'ci')}/{round}")
    world.run(ROUND_STEPS)
    assert world.accepted
    assert world.faults.counts


@pytest.mark.parametrize("world", FOUND)
def test_what_was_found_by_chance(world: str) -> None:
    World(world).run(ROUND_STEPS)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_protocol_is_found_out(name: str) -> None:
    mutant = MUTANTS[name]

    def run() -> None:
        for round in range(MUTANT_ROUNDS):
            World(f"{name}/{round}", mutant.protocol, mutant.plan).run(ROUND_STEPS)

    with pytest.raises(ViolationError):
        run()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_not(name: str) -> None:
    variant = HARMLESS[name]
    World(f"{name}/0", variant.protocol, variant.plan).run(ROUND_STEPS)


def test_the_same_seed_is_the_same_story() -> None:
    stories = []
    for _ in range(2):
        world = World("again")
        world.run(3000)
        ends = [(log.topic, log.number, log.end) for logs in world.broker.topics.values() for log in logs]
        stories.append((world.scheduler.steps, world.scheduler.now_s, ends, world.trace("", 50)))
    assert stories[0] == stories[1]
