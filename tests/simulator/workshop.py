"""In place of sandboxes, Nix and local tables: programs that sleep, a set of store paths, rows in memory."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from nix.dependencies import Expression
from nix.environments import InstalledEnvironment
from nix.errors import DependenciesError, EnvironmentNotFoundError
from nix.turns import InstallationTurns
from tests.simulator.broker import Log
from tests.simulator.invariants import ViolationError
from tests.simulator.network import Network
from tests.simulator.scheduler import Process
from tests.simulator.virtual.follower import VirtualFollower
from tests.simulator.virtual.loop import VirtualLoop
from topics.submissions.stage import CompileStage

if TYPE_CHECKING:
    from tests.simulator.world import World

HOST = "host"


class HostFaultError(Exception):
    """What is nobody's fault but the host's."""


class VirtualView:
    """In place of `View`."""

    def __init__(self, loop: VirtualLoop, network: Network, logs: list[Log]) -> None:
        self._rows: dict[str, bytes] = {}
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._follower = VirtualFollower(loop, network, logs, self._take)

    async def start(self) -> None:
        await self._follower.start()
        await self._follower.wait_caught_up()

    def get(self, key: str) -> bytes | None:
        return self._rows.get(key)

    async def wait_for(
        self, key: str, accept: Callable[[bytes | None], bool], timeout_s: float | None
    ) -> bytes | None:
        assert timeout_s is None
        while not accept(self.get(key)):
            self._changed[key].clear()
            await self._changed[key].wait()
        return self.get(key)

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            self._rows[key.decode()] = value
            self._changed[key.decode()].set()


class VirtualCache:
    """In place of `Cache`: one host, from which environments may be lost."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.publishes = False

    @contextmanager
    def hold(self, store_path: str) -> Iterator[Path]:
        if store_path not in self._world.cache:
            raise EnvironmentNotFoundError(store_path)
        yield Path("/nonexistent")

    async def fetch(self, store_path: str, size_bytes: int, announce: object) -> None:
        raise EnvironmentNotFoundError(f"{store_path}: no other host has it")

    async def install(
        self,
        dependencies: Any,
        pin: str,
        *_: object,
        again: bool,
        resolution: object,
        turns: InstallationTurns,
    ) -> InstalledEnvironment:
        random = self._world.random
        async with turns.evaluation():
            await asyncio.sleep(random.random() * 0.1)
        async with turns.preparation(), turns.build():
            await asyncio.sleep(random.random() * random.choice((0.1, 3.0)))
        if random.random() < self._world.plan.host_fault_chance:
            raise HostFaultError("disk full")
        if isinstance(dependencies, Expression):
            raise DependenciesError("it does not evaluate")
        path = f"/nix/store/{hashlib.sha256(repr(dependencies).encode()).hexdigest()}"
        self._world.cache.add(path)
        return InstalledEnvironment(path, {}, [], 1, "")


class VirtualPrograms:
    """In place of `ProgramExecutor`; `executed` is the shipped type of results."""

    def __init__(self, world: "World", process: Process, executed: Any) -> None:
        self._world, self._process, self._executed = world, process, executed

    @asynccontextmanager
    async def run(self, job: Any) -> AsyncIterator[Any]:
        world, random = self._world, self._world.random
        await asyncio.sleep(random.random() * 0.05)
        await job.may_run()
        await asyncio.sleep(random.random() * 0.2)
        if job.work.id in world.poison:
            try:
                world.die_of(job.work.id, job.work.attempt, self._process)
            except ViolationError as error:  # a worker would take it for a host error
                asyncio.get_running_loop().call_exception_handler({"exception": error})
            await asyncio.Event().wait()
        if random.random() < world.plan.host_fault_chance:
            raise HostFaultError("disk full")
        stage = CompileStage(exit_code=0)
        job.on_compiled(stage)
        await asyncio.sleep(random.random() * random.choice((0.2, 2.0)))
        yield self._executed("ok", None, ())


class NoLiveOutput:
    """In place of `LiveOutputPublisher`."""

    @contextmanager
    def of(self, id: str, attempt: int) -> Iterator["NoLiveOutput"]:
        yield self

    def close(self) -> None:
        pass
