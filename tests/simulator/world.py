"""A system of its own: a broker, a process per role and slot, clients, faults, and what must be true."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from processors.health_checker.lease_monitor import LeaseMonitor
from tests.simulator.broker import Broker, Log
from tests.simulator.client import ENDLESS, Client
from tests.simulator.family import CATALOGUE, Family
from tests.simulator.faults import Faults, Plan
from tests.simulator.health import HealthChecker
from tests.simulator.ingest_shells import start_ingest
from tests.simulator.invariants import Invariants, ViolationError
from tests.simulator.network import Network
from tests.simulator.patches import Patch, shipped
from tests.simulator.scheduler import Future, Process, Scheduler, Wait
from tests.simulator.shells import start_store
from tests.simulator.transactions import SWEEP_S
from tests.simulator.virtual.consumer import VirtualConsumer
from tests.simulator.virtual.loop import VirtualLoop
from tests.simulator.worker_shells import start_builder, start_worker
from topics.submissions.facts import Requested
from topics.submissions.state import Submission

_LONGEST_WAIT_S = 1.0
_EXPIRE_S = 0.5
_TIDY_S = 30.0
_CALM_S = 900.0
"""Within this time everything is finished once faults have stopped."""
_TRACE = 100


@dataclass(frozen=True)
class Protocol:
    """What may be replaced, to see that a wrong one is found out."""

    checker: type[HealthChecker] = HealthChecker
    monitor: type[LeaseMonitor] = LeaseMonitor
    patches: tuple[Patch, ...] = ()
    """Of shipped modules."""
    store_consumer: type[VirtualConsumer] = VirtualConsumer


class World:
    """One round: everything begins anew, from a seed."""

    def __init__(self, seed: str, protocol: Protocol = Protocol(), plan: Plan | None = None) -> None:
        self.random = Random(seed)
        self.protocol, self.shipped = protocol, shipped(protocol.patches)
        self._loops: list[VirtualLoop] = []
        self.plan = plan or Plan.drawn(self.random)
        self.scheduler = Scheduler(self.random)
        self.broker = Broker()
        self.network = Network(self.scheduler, self.broker)
        self.submissions = self._family("submissions")
        self.dependencies = self._family("dependencies")
        self.families = (self.submissions, self.dependencies)
        self.stops = self.broker.create(CATALOGUE.stops.name, 1)[0]
        self.broker.create(CATALOGUE.dead_letters.name, 1)
        self.broker.create(CATALOGUE.webhooks.name, 1)
        self.cache: set[str] = set()
        """Store paths that are on the host."""
        self.poison: set[str] = set()
        self.submitted: dict[str, Requested] = {}
        self.accepted: dict[str, None] = {}
        self.cancelled: set[str] = set()
        self.calm = False
        """Whether faults and clients have ceased."""
        self._was_away_until_s = 0.0
        self.running: list[Process] = []
        self._processes: dict[str, Process] = {}
        self._traces: defaultdict[str, deque[tuple[int, float, str, object]]] = defaultdict(
            lambda: deque(maxlen=_TRACE)
        )
        self.invariants = Invariants(self)
        self.faults = Faults(self)
        self._start_all()

    def _family(self, subject: Any) -> Family:
        plan = self.plan
        return Family(
            subject,
            self.scheduler,
            self.network,
            self.broker,
            partitions=plan.partitions,
            queue_partitions=plan.queue_partitions,
        )

    def _start_all(self) -> None:
        plan = self.plan
        roles = {
            "submission-store": plan.stores,
            "build-store": plan.stores,
            "worker": plan.workers,
            "cache-builder": plan.builders,
            "worker-checker": plan.checkers,
            "cache-builder-checker": plan.checkers,
            "client": 1,
            "ingest": plan.ingests,
        }
        for role, number in roles.items():
            for slot in range(number):
                self.start(role, slot)
        self._every(_EXPIRE_S, self._coordinate)
        self._every(SWEEP_S, self._sweep)
        self._every(_TIDY_S, self._tidy)

    # -- processes ----------------------------------------------------------------------------------

    def start(self, role: str, slot: int) -> None:
        """A new process; once it ends, another one takes its slot."""
        process = self._process(role, slot)
        process.on_end = lambda: self._ended(process, role, slot)
        self._run(role, slot, process)

    def twin(self, process: Process) -> None:
        """Another process of the same slot, which nobody starts again."""
        role, slot = process.role, int(process.name.rsplit("-", 2)[1])
        twin = self._process(role, slot)
        twin.on_end = lambda: self.running.remove(twin)
        self._run(role, slot, twin)

    def _process(self, role: str, slot: int) -> Process:
        process = Process(self.scheduler, role, f"{role}-{slot}-{len(self._processes)}")
        self._processes[process.name] = process
        self.running.append(process)
        return process

    def loop(self, process: Process) -> VirtualLoop:
        """An event loop for a process that runs what ships."""
        self._loops.append(VirtualLoop.of(self.scheduler, process))
        return self._loops[-1]

    def close(self) -> None:
        """End all processes, without a trace."""
        for loop in self._loops:
            loop.process.alive = False
            loop.drop()

    def _run(self, role: str, slot: int, process: Process) -> None:
        match role:
            case "submission-store":
                start_store(self, process, self.submissions, slot)
            case "build-store":
                start_store(self, process, self.dependencies, slot)
            case "worker":
                start_worker(self, process, small=slot < self.plan.small_workers)
            case "cache-builder":
                start_builder(self, process)
            case "ingest":
                start_ingest(self, process)
            case _:
                self.scheduler.spawn(process, self._main(role, slot, process))

    def _main(self, role: str, slot: int, process: Process) -> Wait:
        match role:
            case "worker-checker":
                return self.protocol.checker(self, process, self.submissions).run()
            case "cache-builder-checker":
                return self.protocol.checker(self, process, self.dependencies).run()
            case _:
                return Client(self, process).run()

    def _ended(self, process: Process, role: str, slot: int) -> None:
        self.running.remove(process)
        delay_s = process.restart_after_s or 0.1 + self.random.random() * 3
        if role not in {"client", "ingest"} or not self.calm:
            self.scheduler.at(self.scheduler.now_s + delay_s, None, lambda _: self.start(role, slot))

    def crash(self, process: Process, why: str, restart_s: float | None = None) -> None:
        """kill -9."""
        self.note("", f"{why}:", process.name)
        process.restart_after_s = restart_s
        self.scheduler.end(process)

    def die_of(self, id: str, attempt: int, process: Process) -> None:
        """A worker's program kills it."""
        self.invariants.died_of(id, attempt, process)
        self.crash(process, "poison")

    def process(self, name: str) -> Process:
        """Of any time."""
        return self._processes[name]

    def subscribe(self, logs: Iterable[Log]) -> Future:
        """Known once there may be something to read, or it is time to look after other things."""
        news = Future(self.scheduler)
        for log in logs:
            log.listeners.append(news)
        wait_s = self.random.random() * _LONGEST_WAIT_S
        self.scheduler.at(self.scheduler.now_s + wait_s, None, lambda _: news.set())
        return news

    # -- the broker's own ---------------------------------------------------------------------------

    @property
    def away(self) -> bool:
        """Whether the broker cannot be reached."""
        return self.broker.away_until_s > self.scheduler.now_s

    def _every(self, period_s: float, act: Callable[[], None]) -> None:
        def turn(_: int) -> None:
            if not self.away:
                act()
            self.scheduler.at(self.scheduler.now_s + period_s, None, turn)

        self.scheduler.at(self.random.random() * period_s, None, turn)

    def _coordinate(self) -> None:
        for family in self.families:
            for group in (family.store_group, family.work_group, family.check_group):
                if self._was_away_until_s != self.broker.away_until_s:
                    group.restarted()
                group.expire()
        self._was_away_until_s = self.broker.away_until_s

    def _sweep(self) -> None:
        for family in self.families:
            family.coordinator.sweep()

    def _tidy(self) -> None:
        for family in self.families:
            for log in (*family.rows, *family.changelog):
                log.compact()
            for log in family.queue:
                log.trim(family.work_group.offsets.get(log.number, 0))

    # -- running ------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """So many steps with faults, then as many as it takes to finish without.

        Raises:
            ViolationError: an invariant is broken.
        """
        try:
            self._run_with_faults(steps)
            self._calm_down()
        finally:
            self.close()

    def _run_with_faults(self, steps: int) -> None:
        fault_at = self._next_fault()
        end = self.scheduler.steps + steps
        while self.scheduler.steps < end:
            process = self.scheduler.step()
            self.invariants.check()
            if self.scheduler.steps >= fault_at:
                self.faults.inject(process)
                self.invariants.check()
                fault_at = self._next_fault()

    def _next_fault(self) -> int:
        return self.scheduler.steps + 1 + round(self.random.expovariate(1 / self.plan.fault_steps))

    def _calm_down(self) -> None:
        self.calm = True
        self.faults.disarm()
        deadline_s = self.scheduler.now_s + _CALM_S
        while left := self.unfinished() or self.invariants.unfinished():
            if self.scheduler.now_s > deadline_s:
                raise ViolationError(left[0], f"not over {_CALM_S} s after the last fault")
            for _ in range(500):
                self.scheduler.step()
                self.invariants.check()
        self._check_answers()

    def unfinished(self) -> list[str]:
        """Accepted submissions that are not finished in the store."""
        stored = self.invariants.stored("submissions")
        return [id for id in self.accepted if not stored.get(id, (0, False))[1]]

    def _check_answers(self) -> None:
        truth = self.invariants.truth("submissions")
        for id in self.accepted:
            state = truth[id]
            if id in self.poison and state.outcome == "ok":
                raise ViolationError(id, "poison, and ok")
            honest = self.submitted[id].allowed_attempts == ENDLESS and id not in self.cancelled
            if honest and state.outcome not in {"ok", "dependencies_failed", "internal_error"}:
                raise ViolationError(id, f"honest, and {state.status} {state.outcome}")
            if honest and str(state.error).startswith("given up") and not _is_of_builders(state):
                raise ViolationError(id, f"honest, and {state.error}")

    # -- telling ------------------------------------------------------------------------------------

    def note(self, id: str, what: str, of: object) -> None:
        """Remember, should it be asked for; `id` is empty for what befalls processes."""
        self._traces[id].append((self.scheduler.steps, self.scheduler.now_s, what, of))

    def trace(self, id: str, last: int = 60) -> list[str]:
        """What happened to `id`, and meanwhile to processes."""
        told = sorted([*self._traces[id], *self._traces[""]], key=lambda entry: entry[:2])[-last:]
        return [f"{now_s:10.3f} s  step {step:7d}  {what} {of!r}" for step, now_s, what, of in told]


def _is_of_builders(state: Submission) -> bool:
    """Whether its environment was given up. Chance may end all builders that an environment is allowed.

    `Invariants.declared_dead` knows that each of them was disturbed while it built.
    """
    return state.dependencies is not None and state.dependencies.explanation == state.error
