"""What a cache builder publishes of builds that wait for their turn, and hands back. Without Kafka."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nix.cache import Cache
from nix.environments import InstalledEnvironment
from nix.turns import InstallationTurns
from processors.build_executor import BuildExecutor
from processors.build_steps import BuildStepPublisher
from processors.build_turns import PREPARED, BuildTurns
from processors.evictions import Evictions
from processors.queue import attempts
from processors.queue.attempts import Attempts, WorkerIdentity
from processors.queue.offsets import Delivery
from processors.settings import WorkSettings
from tests.unit.processors.test_attempts import NOWHERE, Acknowledged, NoClients, header_of
from topics.catalogue import catalogue
from topics.dependencies.facts import FACTS
from topics.dependencies.state import Build
from topics.kafka.fact_publisher import FactPublisher
from topics.kafka.reachability import Reachability
from topics.request.limits import DependenciesLimits
from topics.request.model import BASE
from topics.views.view import View

TOPICS = catalogue(NOWHERE)
PREPARATIONS = 2 + PREPARED
MOST = PREPARATIONS - 1
"""Builds of one owner that may be prepared at once."""


@pytest.fixture(autouse=True)
def broker_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the tests of attempts."""
    monkeypatch.setattr(attempts, "OF_THIS_PROCESS", Reachability())


class SlowCache(Cache):
    """A cache whose installations end when they may."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    @property
    def publishes(self) -> bool:
        return False

    async def install(
        self, *_: object, turns: InstallationTurns | None = None, **__: object
    ) -> InstalledEnvironment:
        assert turns
        async with turns.preparation(), turns.build():
            await self.may_end.wait()
        return InstalledEnvironment("/nix/store/x", {}, [], 1, "")


class Builder:
    """One cache builder with one slot of builds, in a running event loop."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.producer = SlowCache(), Acknowledged()
        self._folder, self._offset = folder, 0
        self.attempts = Attempts(
            self._executor(),
            Build,
            FACTS,
            WorkerIdentity(name="b", source="b", slots=1, backlog=99, lease_renewal_s=1.0, grace_s=60.0),
            clients=NoClients(),
            catalogue=TOPICS,
            family=TOPICS.dependencies,
            queue_partitions=2,
            producer=self.producer,
        )

    def _executor(self) -> BuildExecutor:
        events = FactPublisher(self.producer, TOPICS.dependencies.events.name, FACTS, "b")
        view = View(NOWHERE, TOPICS.dependencies.store.name, self._folder / "view")
        return BuildExecutor(
            "b",
            WorkSettings(),
            self.cache,
            Evictions(view, events, host="h"),
            BuildStepPublisher(self.producer, TOPICS.steps.name, "b"),
            BuildTurns(builds=1, evaluations=2),
            memory_bytes=1 << 40,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At work; once it stops, nothing ends before each build that waits has another last fact."""
        run = asyncio.create_task(self.attempts.run())
        await asyncio.sleep(0)
        yield
        self.attempts.stop()
        await self.until(lambda facts: all(each[-1] != "waits" for each in facts.values()))
        self.cache.may_end.set()
        await run

    async def until(self, condition: Callable[[dict[str, list[str]]], bool]) -> None:
        """Wait until what was published meets a condition."""
        while not condition(self.facts()):  # noqa: ASYNC110 - it may change anywhere
            await asyncio.sleep(0.01)

    async def give(self, *ids: str, alone: bool = False) -> None:
        """Builds that may have been delivered before; return when they have done what they can."""
        for id in ids:
            self._offset += 1
            work = Build(
                id=id,
                generation=1,
                attempt=1,
                dependencies=BASE,
                package_set="p",
                system="s",
                limits=DependenciesLimits(),
                owner="key/a",
                alone=alone,
            )
            starting = self.attempts.start(Delivery(0, self._offset, work), is_first_delivery=False)
            assert starting
            await starting
        for _ in range(20):
            await asyncio.sleep(0)

    def facts(self) -> dict[str, list[str]]:
        """What was published of each build; `waits` is a start that waits for its turn."""
        facts: defaultdict[str, list[str]] = defaultdict(list)
        for record in self.producer.said:
            if record.topic == TOPICS.dependencies.events.name:
                content: dict[str, Any] = json.loads(record.value or b"")
                assert isinstance(record.key, bytes)
                facts[record.key.decode()].append("waits" if content.get("waiting") else header_of(record))
        return facts


def test_builds_that_wait_for_their_turn_are_published_as_waiting_and_handed_back_at_once(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        builder = Builder(tmp_path)
        ids = [f"{number}" for number in range(MOST + 2)]
        async with builder.running():
            await builder.give(*ids)
            waiting = ["started", "waits"]
            assert builder.facts() == {
                id: ["started"] if number < MOST else waiting for number, id in enumerate(ids)
            }
        ended = [(id, facts[-1]) for id, facts in builder.facts().items()]
        assert ended[:MOST] == [(id, "installed") for id in ids[:MOST]]
        assert [builder.facts()[id] for id in ids[MOST:]] == 2 * [[*waiting, "handed_back"]]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_build_that_has_its_turn_is_published_as_started(tmp_path: Path) -> None:
    async def test() -> None:
        builder = Builder(tmp_path)
        async with builder.running():
            await builder.give(*(f"{number}" for number in range(MOST + 1)))
            builder.cache.may_end.set()
            last = f"{MOST}"
            await builder.until(lambda facts: facts[last][-1] == "installed")
            assert builder.facts()[last] == ["started", "waits", "started", "installed"]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_build_that_runs_alone_waits_for_the_others(tmp_path: Path) -> None:
    async def test() -> None:
        builder = Builder(tmp_path)
        async with builder.running():
            await builder.give("other")
            await builder.give("alone", alone=True)
            assert builder.facts()["alone"] == ["started", "waits"]
            builder.cache.may_end.set()
            await builder.until(lambda facts: facts["alone"][-1] == "installed")
            assert builder.facts()["alone"] == ["started", "waits", "started", "installed"]

    asyncio.run(asyncio.wait_for(test(), 30))
