"""What befalls processes, broker and log, at any step; the seed says what and when."""

from collections import Counter
from functools import partial
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.simulator.broker import Entry, Log
from tests.simulator.family import GARBAGE, Family
from tests.simulator.health import value_of
from tests.simulator.scheduler import Process
from tests.simulator.workshop import HOST
from topics.dependencies.facts import Evicted
from topics.kafka.codec import Headers, header

if TYPE_CHECKING:
    from tests.simulator.world import World

KINDS = (
    "crash",
    "pause",
    "cut off",
    "stop",
    "twin",
    "mid-transaction",
    "mid-dispatch",
    "slow markers",
    "fence",
    "forgotten",
    "new leader",
    "outage",
    "rebalance",
    "duplicate",
    "garbage",
    "broker away",
    "clock",
    "eviction",
)
_BACK_S = 10.0
"""How long the broker stays, once it is back."""
_LATE_S = 8.0
"""After this time the store has paid what a request handler owed."""
_DISPATCH_S = 0.003
"""What lies between the two records of a dispatch, mostly."""
PAUSES_S = (0.5, 3.0, 8.0, 15.0, 40.0)


class Plan(NamedTuple):
    """How many of each, and how much goes wrong; every round has another (swarm testing)."""

    partitions: int
    queue_partitions: int
    stores: int
    workers: int
    builders: int
    checkers: int
    environments: int
    submit_period_s: float
    poison_chance: float
    host_fault_chance: float
    faust_fault_chance: float
    kinds: tuple[str, ...]
    """Of faults."""
    fault_steps: int
    """Steps between two faults, on average."""
    ingests: int = 0
    named_chance: float = 0.0
    """Share of requests over ingest whose id the client chose."""
    turns: bool = False
    """Whether requests from Kafka leave it to the store processor when they are enqueued."""
    small_workers: int = 0
    """How many of the workers have too little memory for any submission."""
    transaction_bytes: int = 1 << 24
    """Size at which the store processor adds no event to a transaction."""

    @classmethod
    def drawn(cls, random: Random) -> "Plan":
        """Any."""
        return cls(
            partitions=random.choice((1, 1, 2)),
            queue_partitions=random.choice((1, 2, 3)),
            stores=random.choice((1, 2)),
            workers=random.choice((1, 2, 3)),
            builders=random.choice((1, 2)),
            checkers=random.choice((1, 2)),
            environments=random.choice((1, 4, 12)),
            submit_period_s=random.choice((0.1, 0.3, 1.0)),
            poison_chance=random.choice((0.0, 0.0, 0.1)),
            host_fault_chance=random.choice((0.0, 0.05)),
            faust_fault_chance=random.choice((0.0, 0.3)),
            kinds=tuple(random.sample(KINDS, random.randint(1, len(KINDS)))),
            fault_steps=random.choice((50, 200, 800)),
            ingests=random.choice((0, 1, 2)),
            named_chance=random.choice((0.0, 0.5)),
            turns=random.choice((False, True)),
            small_workers=random.choice((0, 0, 1)),
            transaction_bytes=random.choice((1 << 24, 1 << 24, 5000)),
        )


class Faults:
    """Chooses and does them."""

    def __init__(self, world: "World") -> None:
        self._world, self._random = world, world.random
        self.counts: Counter[str] = Counter()
        self._ambushes = self._dispatch_ambushes = 0
        world.broker.on_append.append(self._mid_dispatch)
        for family in world.families:
            family.coordinator.on_request.append(self._mid_transaction)

    def inject(self, stepped: Process | None) -> None:
        """A fault, as often as not to the process that has just made a step: before its next one."""
        victims = self._world.running
        if not victims:
            return
        kind = self._random.choice(self._world.plan.kinds)
        likely = stepped is not None and stepped.alive and self._random.random() < 0.5
        process = stepped if stepped is not None and likely else self._random.choice(victims)
        self.counts[kind] += 1
        self._world.note("", kind, process.name)
        match kind:
            case "crash":
                self._world.crash(process, "killed")
            case "pause":
                self._pause(process)
            case "cut off":
                self._world.scheduler.cut_off(process, self._random.choice(PAUSES_S))
            case "stop":
                process.stop.set()
            case "twin":
                self._twin(process)
            case "outage":
                self._outage(process.role)
            case "mid-transaction":
                self._ambushes += 1
            case "mid-dispatch":
                self._dispatch_ambushes += 1
            case _:
                self._to_the_broker(kind)

    def disarm(self) -> None:
        """Cease: what was to come within a transaction or a dispatch does not come any more."""
        self._ambushes = self._dispatch_ambushes = 0

    def _to_the_broker(self, kind: str) -> None:
        broker, now_s = self._world.broker, self._world.scheduler.now_s
        family = self._random.choice(self._world.families)
        match kind:
            case "slow markers":
                family.coordinator.slow_until_s = now_s + self._random.choice((1.0, 20.0))
            case "fence":
                family.coordinator.fence(self._random)
            case "forgotten":
                family.store_group.forget()
            case "rebalance":
                groups = (family.store_group, family.work_group, family.check_group)
                self._random.choice(groups).rebalance(shuffled=True)
            case "broker away":
                if now_s > broker.away_until_s + _BACK_S:
                    broker.away_until_s = now_s + self._random.choice((0.3, 2.0, 30.0))
            case "clock":
                broker.clock_skew_s += self._random.choice((-30.0, -1.0, 1.0, 30.0))
            case "eviction":
                self._evict()
            case _:
                self._to_a_log(kind, family)

    def _to_a_log(self, kind: str, family: Family) -> None:
        now_s = self._world.scheduler.now_s
        match kind:
            case "new leader":  # it does not know the end for a while (KIP-207)
                log = self._random.choice(family.rows)
                if now_s > log.hidden_until_s + _BACK_S:
                    log.hidden_until_s, log.is_low = now_s + self._random.choice((0.0, 0.5, 5.0)), True
            case "duplicate":
                self._duplicate(family)
            case "garbage":
                log = self._random.choice((*family.events, *family.queue, *family.leases))
                self._world.broker.append(log, GARBAGE, b"{", [], now_s)

    def _mid_transaction(self, transactional_id: str) -> None:
        """Killed, or paused, with some of a transaction done."""
        if not self._ambushes or self._random.random() < 0.5:
            return
        self._ambushes -= 1
        for process in list(self._world.running):
            if process.name.startswith(f"{transactional_id}-"):
                if self._random.random() < 0.3:
                    self._world.crash(process, "killed within a transaction")
                else:
                    self._pause(process)

    def _mid_dispatch(self, log: Log, entry: Entry) -> None:
        """Killed, or cut off, after Requested and before the record of the queue."""
        message = entry.message
        if not self._dispatch_ambushes or message is None or b'"dispatch":"direct"' not in value_of(message):
            return
        self._dispatch_ambushes -= 1
        for process in list(self._world.running):
            if header(message, "ce_source") == f"/envicutor/{process.name}":
                at_s = self._world.scheduler.now_s + self._random.random() * _DISPATCH_S
                self._world.scheduler.at(at_s, process, partial(self._ambush, process))

    def _ambush(self, process: Process, _: int) -> None:
        if self._random.random() < 0.3:
            self._world.crash(process, "killed within a dispatch")
        else:
            self._world.scheduler.cut_off(process, _LATE_S)

    def _pause(self, process: Process) -> None:
        self._world.scheduler.pause(process, self._random.choice(PAUSES_S))

    def _twin(self, process: Process) -> None:
        """What is paused looks dead, and is started again elsewhere: two have the same name."""
        self._pause(process)
        self._world.twin(process)

    def _outage(self, role: str) -> None:
        """All of a role, for longer than every timeout."""
        for process in list(self._world.running):
            if process.role == role:
                self._world.crash(process, "outage", restart_s=self._random.choice((5.0, 30.0)))

    def _duplicate(self, family: Family) -> None:
        """A record comes again, as from a producer that retried by hand."""
        log = self._random.choice((*family.events, *family.leases))
        candidates = [entry for entry in log.entries[-300:] if entry.message is not None]
        if not candidates:
            return
        message = self._random.choice(candidates).message
        assert message is not None
        key, value = message.key(), message.value()
        assert isinstance(value, bytes)
        assert key is None or isinstance(key, bytes)
        headers: Headers = [*(message.headers() or ())]
        self._world.broker.append(log, key, value, headers, self._world.scheduler.now_s)

    def _evict(self) -> None:
        """The host's cache makes room."""
        states = self._world.invariants.truth("dependencies").values()
        installed = [state for state in states if state.store_path in self._world.cache]
        if installed and self._world.running:
            state = self._random.choice(installed)
            self._world.cache.discard(state.store_path)
            fact = Evicted(generation=state.generation, host=HOST)
            self._world.dependencies.say(self._world.running[0], state.id, fact)
