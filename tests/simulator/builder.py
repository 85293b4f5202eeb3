"""Mirrors `processors/cache_builder.py`: the craft of building environments."""

from typing import TYPE_CHECKING

from tests.simulator.attempts import Attempt, HostFaultError
from tests.simulator.scheduler import Process, Wait
from tests.simulator.worker import HOST
from topics.dependencies.facts import Failed, HandedBack, Installed, Started
from topics.dependencies.state import Build
from topics.model import Model

if TYPE_CHECKING:
    from tests.simulator.world import World

SLOTS = 1
FAILURE_EXPIRES_S = 20.0


class Builder:
    """`CacheBuilder`: one process of the consumer group."""

    def __init__(self, world: "World", process: Process) -> None:
        self._world, self._process = world, process
        self._attempts = world.protocol.attempts(
            world, process, world.dependencies, self, slots=SLOTS, max_waiting=0
        )

    def run(self) -> Wait:
        """`run`."""
        yield from self._attempts.run()

    def started(self, work: Build) -> Model:
        """`started`."""
        return Started(attempt=work.attempt, builder=self._process.name)

    def handed_back(self, work: Build, reason: str, *, host_fault: bool) -> Model:
        """`handed_back`."""
        return HandedBack(
            attempt=work.attempt, builder=self._process.name, reason=reason, host_fault=host_fault
        )

    def unwanted(self, work: Build) -> bool:
        """`unwanted`: never, others may have come to wait for it."""
        return False

    def carry_out(self, attempt: Attempt) -> Wait:
        """`carry_out`: install it in the cache and say what came of it."""
        work: Build = attempt.work
        yield attempt.ours
        attempt.begun = True
        random = self._world.random
        yield random.random() * random.choice((0.1, 3.0))
        if random.random() < self._world.plan.host_fault_chance:
            raise HostFaultError("disk full")
        attempt.conclude(self._built(work))

    def _built(self, work: Build) -> Installed | Failed:
        if work.dependencies.nix is not None:
            return Failed(
                attempt=work.attempt,
                builder=self._process.name,
                fault="theirs",
                explanation="it does not evaluate",
                log="",
                wall_time_s=1.0,
                expires_s=FAILURE_EXPIRES_S,
            )
        path = f"/nix/store/{work.id}"
        self._world.cache.add(path)
        return Installed(
            attempt=work.attempt,
            builder=self._process.name,
            host=HOST,
            store_path=path,
            variables={},
            packages=(),
            size_bytes=1,
            wall_time_s=1.0,
        )
