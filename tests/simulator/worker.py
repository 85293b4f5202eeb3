"""Mirrors `processors/worker/worker.py` and `environments.py`: the craft of running submissions."""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulator.attempts import Attempt, HostFaultError
from tests.simulator.scheduler import Future, Process, Wait
from tests.simulator.slots import Slots
from tests.simulator.stops import StopOrders
from topics.dependencies import facts as dependencies
from topics.dependencies.state import EnvironmentState
from topics.model import Model
from topics.request.limits import MiB
from topics.submissions.acceptance import SYSTEM
from topics.submissions.facts import Compiled, DependenciesInstalled, Finished, HandedBack, Started
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome
from topics.submissions.state import Work

if TYPE_CHECKING:
    from tests.simulator.world import World

SLOTS = 2
MAX_WAITING = 4
HOST = "host"
SMALL_BYTES, LARGE_BYTES = 64 * MiB, 1024 * MiB
"""Less, and more, than any submission asks for."""


class View:
    """`topics/views/view.py`, of `dependencies.store`."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._logs = world.dependencies.rows
        self._positions = [0] * len(self._logs)
        self._rows: dict[str, EnvironmentState] = {}
        self._waiting: defaultdict[str, list[Future]] = defaultdict(list)

    def read(self) -> None:
        """Take in what is there."""
        for number, log in enumerate(self._logs):
            read = log.read(self._positions[number], 1000)
            self._positions[number] = read.position
            for message in read.messages:
                row = EnvironmentState.model_validate_json(message.value() or b"")
                self._rows[row.id] = row
                for waiting in self._waiting.pop(row.id, ()):
                    waiting.set()

    def get(self, id: str) -> EnvironmentState | None:
        """The row as far as it is known here."""
        return self._rows.get(id)

    def wait_for(self, id: str, accept: Callable[[EnvironmentState | None], bool]) -> Wait:
        """The row as soon as `accept` says yes to it."""
        while not accept(row := self._rows.get(id)):
            changed = Future(self._world.scheduler)
            self._waiting[id].append(changed)
            yield changed
        return row


class Worker:
    """`Worker`: one process of the consumer group."""

    def __init__(self, world: "World", process: Process, *, small: bool = False) -> None:
        self._world, self._process = world, process
        self._memory_bytes = SMALL_BYTES if small else LARGE_BYTES
        self._slots = Slots(world.scheduler, SLOTS)
        self._attempts = world.protocol.attempts(
            world,
            process,
            world.submissions,
            self,
            slots=SLOTS,
            max_waiting=MAX_WAITING,
            memory_bytes=self._memory_bytes,
        )
        self._stops = StopOrders(world, world.stops, self._attempts)
        self._view = View(world)

    def run(self) -> Wait:
        """`run`: read everything there is, then work."""
        self._view.read()
        self._stops.read()
        yield 0.0
        self._world.scheduler.spawn(self._process, self._read())
        yield from self._attempts.run()

    def _read(self) -> Wait:
        while True:
            yield self._world.subscribe((*self._world.dependencies.rows, self._world.stops))
            if self._world.network.reaches(self._process):
                self._view.read()
                self._stops.read()

    # -- the craft ----------------------------------------------------------------------------------

    def started(self, work: Work) -> Model:
        """`started`."""
        return Started(attempt=work.attempt, worker=self._process.name)

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> Model:
        """`handed_back`."""
        return HandedBack(
            attempt=work.attempt, worker=self._process.name, reason=reason, host_fault=host_fault
        )

    def unwanted(self, work: Work) -> bool:
        """`unwanted`."""
        return self._stops.stopped(work.id, work.attempt)

    def carry_out(self, attempt: Attempt) -> Wait:
        """`carry_out`: see that the dependencies are there, run, and say what came of it."""
        work: Work = attempt.work
        if work.memory_bytes > self._memory_bytes:
            yield attempt.ours
            attempt.conclude(self._finished(work, "internal_error"))
            return
        state = self._view.get(work.dependencies_id)
        while True:
            if state is None or state.status != "installed":
                yield attempt.ours
                state = yield from self._wait_for_dependencies(attempt)
            assert state is not None
            if state.status == "failed":
                yield attempt.ours
                outcome: Outcome = "internal_error" if state.fault == "ours" else "dependencies_failed"
                attempt.conclude(self._finished(work, outcome))
                return
            if (yield from self._execute(attempt, state)):
                return
            lost = dependencies.Lost(generation=state.generation, host=HOST)
            yield self._world.dependencies.say(self._process, state.id, lost)
            state = None

    def _wait_for_dependencies(self, attempt: Attempt) -> Wait:
        attempt.waiting = True
        try:
            return (yield from self._environment(attempt.work))
        finally:
            attempt.waiting = False

    def _environment(self, work: Work) -> Wait:
        """Ask for it, unless it is being built, and wait for the result, as `EnvironmentClient.wait` does."""
        state = self._view.get(work.dependencies_id)
        while True:
            asked_at_ms = 0
            if state is None or state.final:
                request = dependencies.Requested(
                    dependencies=work.request.environment,
                    package_set=work.package_set,
                    system=SYSTEM,
                    limits=work.request.limits.dependencies,
                )
                asked = yield self._world.dependencies.say(self._process, work.dependencies_id, request)
                asked_at_ms = asked.timestamp()[1]
            state = yield from self._decided(work.dependencies_id, asked_at_ms)
            if state.status != "gone":  # else it was evicted or lost again before we looked
                return state

    def _decided(self, id: str, asked_at_ms: int) -> Wait:
        def answered(now: EnvironmentState | None) -> bool:
            return now is not None and now.final and now.requested_at_ms >= asked_at_ms

        return (yield from self._view.wait_for(id, answered))

    def _execute(self, attempt: Attempt, state: EnvironmentState) -> Wait:
        """`_execute`; False where the environment is missing."""
        work: Work = attempt.work
        random = self._world.random
        places = yield from self._slots.take(alone=work.alone)
        attempt.begun = True
        try:
            if state.store_path not in self._world.cache:
                return False
            stage = DependenciesStage(id=state.id, cached=True)
            name = self._process.name
            attempt.say(DependenciesInstalled(attempt=work.attempt, worker=name, dependencies=stage))
            yield random.random() * 0.05
            yield attempt.ours
            yield from self._run(attempt)
        finally:
            self._slots.give_back(places)
        return True

    def _run(self, attempt: Attempt) -> Wait:
        work: Work = attempt.work
        random = self._world.random
        yield random.random() * 0.2
        if work.id in self._world.poison:
            self._world.die_of(work.id, work.attempt, self._process)
            yield 0.0
        if random.random() < self._world.plan.host_fault_chance:
            raise HostFaultError("disk full")
        stage = CompileStage(exit_code=0)
        attempt.say(Compiled(attempt=work.attempt, worker=self._process.name, compile=stage))
        yield random.random() * random.choice((0.2, 2.0))
        attempt.conclude(self._finished(work, "ok"))

    def _finished(self, work: Work, outcome: Outcome) -> Finished:
        return Finished(
            attempt=work.attempt,
            worker=self._process.name,
            outcome=outcome,
            dependencies=None,
            compile=None,
            run=(),
        )
