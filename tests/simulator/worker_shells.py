"""Shipped workers and cache builders in simulated processes: what decides, leases, commits and publishes."""

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from confluent_kafka import Message
from typing_extensions import override

from processors.settings import WorkSettings
from tests.simulator.family import CATALOGUE, Family
from tests.simulator.scheduler import Process
from tests.simulator.shells import run
from tests.simulator.virtual.clients import VirtualClients
from tests.simulator.virtual.loop import VirtualLoop
from tests.simulator.virtual.producer import VirtualProducer
from tests.simulator.workshop import HOST, NoLiveOutput, VirtualCache, VirtualPrograms, VirtualView
from topics.dependencies.facts import FACTS as DEPENDENCIES_FACTS
from topics.dependencies.state import Build
from topics.kafka.codec import Record, decode
from topics.kafka.fact_publisher import FactPublisher
from topics.leases import Lease
from topics.request.limits import MiB
from topics.submissions.state import Work

if TYPE_CHECKING:
    from tests.simulator.world import World

SLOTS, BUILDER_SLOTS = 2, 1
MAX_WAITING = HELD_BUILDS = 4
RENEWAL_S, GRACE_S = 1.0, 5.0
FAILURE_EXPIRES_S = 20.0
SMALL_BYTES, LARGE_BYTES = 64 * MiB, 1024 * MiB
"""Less, and more, than any submission asks for."""


class WatchedProducer(VirtualProducer):
    """Notes which leases its process holds, for the invariants."""

    def __init__(self, loop: VirtualLoop, world: "World", leases: str) -> None:
        super().__init__(loop, world.network)
        self._process, self._leases = loop.process, leases
        self._taken: set[tuple[str, int]] = set()
        """Not released; a lease may be released before it is known to be held."""

    @override
    def publish(self, record: Record, *, partition: int = -1) -> "asyncio.Future[Message]":
        acknowledged = super().publish(record, partition=partition)
        if record.topic == self._leases:
            lease = decode(Lease, record.value)
            key = (lease.id, lease.attempt)
            if lease.kind == "taken":
                self._taken.add(key)
                acknowledged.add_done_callback(lambda _: self._hold(key))
            elif lease.kind == "released":
                self._taken.discard(key)
                self._process.leases.pop(key, None)
        return acknowledged

    def _hold(self, key: tuple[str, int]) -> None:
        if key in self._taken:
            self._process.leases.setdefault(key, self._loop.time())


def start_worker(world: "World", process: Process, *, small: bool) -> None:
    """Run the shipped attempts of a worker."""
    loop, family = world.loop(process), world.submissions
    clients, producer = _clients(world, loop, family), _producer(world, loop, family)
    memory_bytes = SMALL_BYTES if small else LARGE_BYTES
    attempts: Any = None

    def cancel(id: str, up_to_attempt: int) -> None:
        attempts.cancel(id, up_to_attempt)

    stops = _module(world, "queue.stops").StopOrders(clients, CATALOGUE.stops.name, cancel)
    view = VirtualView(loop, world.network, world.dependencies.rows)
    environment_events = FactPublisher(
        producer, CATALOGUE.dependencies.events.name, DEPENDENCIES_FACTS, process.name
    )
    environments = _module(world, "worker.environment_client").EnvironmentClient(
        view, environment_events, VirtualCache(world), host=HOST
    )
    executed = _module(world, "worker.execute").Executed
    executor = _module(world, "worker.executor").SubmissionExecutor(
        process.name,
        environments,
        VirtualPrograms(world, process, executed),
        NoLiveOutput(),
        memory_bytes=memory_bytes,
        most_memory_bytes=lambda: attempts.most_memory_bytes(),
        is_stopped=stops.is_stopped,
    )
    identity = _identity(world, process, SLOTS, max_waiting=MAX_WAITING, memory_bytes=memory_bytes)
    attempts = _attempts(world, family, executor, Work, identity, clients, producer)

    async def work() -> None:
        await view.start()
        await stops.start()
        await attempts.run()

    process.stop.when_done(attempts.stop)
    run(world, loop, work())


def start_builder(world: "World", process: Process) -> None:
    """Run the shipped attempts of a cache builder."""
    loop, family = world.loop(process), world.dependencies
    clients, producer = _clients(world, loop, family), _producer(world, loop, family)
    settings = WorkSettings(
        host=HOST, failure_expires_s=FAILURE_EXPIRES_S, other_failure_expires_s=FAILURE_EXPIRES_S
    )
    steps = _module(world, "build_steps").BuildStepPublisher(producer, CATALOGUE.steps.name, process.name)
    executor = _module(world, "build_executor").BuildExecutor(
        process.name,
        settings,
        VirtualCache(world),
        _NoEvictions(),
        steps,
        _module(world, "build_turns").BuildTurns(builds=BUILDER_SLOTS, evaluations=2),
        memory_bytes=1 << 40,
    )
    identity = _identity(world, process, BUILDER_SLOTS, backlog=HELD_BUILDS)
    attempts = _attempts(world, family, executor, Build, identity, clients, producer)
    process.stop.when_done(attempts.stop)
    run(world, loop, attempts.run())


class _NoEvictions:
    async def announce(self, store_path: str) -> bool:
        return True


def _module(world: "World", name: str) -> Any:
    return world.shipped.module(f"processors.{name}")


def _clients(world: "World", loop: VirtualLoop, family: Family) -> VirtualClients:
    return VirtualClients(loop, world.network, world.broker, family.work_group)


def _producer(world: "World", loop: VirtualLoop, family: Family) -> WatchedProducer:
    return WatchedProducer(loop, world, family.leases[0].topic)


def _identity(world: "World", process: Process, slots: int, **capacity: int) -> Any:
    return _module(world, "queue.attempts").WorkerIdentity(
        name=process.name,
        source=process.name,
        slots=slots,
        lease_renewal_s=RENEWAL_S,
        grace_s=GRACE_S,
        **capacity,
    )


def _attempts(
    world: "World",
    family: Family,
    executor: Any,
    model: Any,
    identity: Any,
    clients: VirtualClients,
    producer: WatchedProducer,
) -> Any:
    module = _module(world, "queue.attempts")
    module.crash = _crash
    return module.Attempts(
        executor,
        model,
        family.facts,
        identity,
        clients=clients,
        catalogue=CATALOGUE,
        family=family.store.aggregate.family,
        queue_partitions=None if family.subject == "submissions" else len(family.queue),
        producer=producer,
    )


def _crash(why: str) -> NoReturn:
    raise AssertionError(why)
