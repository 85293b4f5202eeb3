"""Making a submission's dependencies available in this host's Cache, built here or on another host."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

from nix.cache import Cache
from nix.errors import EnvironmentNotFoundError
from processors.evictions import Evictions
from processors.queue.attempt import Attempt
from topics.dependencies import build_owner
from topics.dependencies.facts import DependenciesFact, Lost, Requested
from topics.dependencies.state import EnvironmentState
from topics.kafka.fact_publisher import FactPublisher
from topics.request.model import SubmissionRequest
from topics.submissions.acceptance import SYSTEM
from topics.submissions.stage import DependenciesStage
from topics.submissions.state import Work
from topics.views.view import View

log = logging.getLogger(__name__)


class HeldEnvironment(NamedTuple):
    """An environment that is not evicted from this host while it is held."""

    tree: Path
    """Folder of its files."""
    variables: Mapping[str, str]
    """Environment variables that programs in it need."""
    stage: DependenciesStage
    """The stage of the submission that waited for it."""


class DependenciesFailedError(Exception):
    """The dependencies cannot be installed."""

    def __init__(self, state: EnvironmentState, stage: DependenciesStage) -> None:
        super().__init__(state.explanation)
        self.state, self.stage = state, stage


class EnvironmentClient:
    """A worker's access to environments: a view of `dependencies.store`, requests, and the host's Cache."""

    def __init__(
        self,
        view: View,
        events: FactPublisher,
        cache: Cache,
        *,
        host: str,
    ) -> None:
        """Read `view`, a view of `dependencies.store`; publish to `events`, the log of dependencies."""
        self._view, self._events, self._cache = view, events, cache
        self._host = host
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._evictions = Evictions(view, events, host=host)

    @asynccontextmanager
    async def acquire(self, attempt: Attempt[Work]) -> AsyncIterator[HeldEnvironment]:
        """Hold the environment of an attempt; it is built and fetched first if necessary.

        The attempt holds no slot while it waits for other processes.

        Raises:
            DependenciesFailedError: the dependencies cannot be installed.
            EnvironmentNotFoundError: the environment was lost again after it was built again.
        """
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        state = self._installed(attempt.work.dependencies_id)
        is_cached = state is not None
        with ExitStack() as holding:
            state = state or await self._wait(attempt, started_s)
            try:
                tree, is_here = await self._hold(holding, attempt, state)
            except EnvironmentNotFoundError:
                state = await self._wait(attempt, started_s)
                tree, is_here = await self._hold(holding, attempt, state)
                is_cached = False
            wall_time_s = loop.time() - started_s
            stage = _stage_of(state, is_cached=is_cached and is_here, wall_time_s=wall_time_s)
            yield HeldEnvironment(tree, state.variables, stage)

    def _installed(self, id: str) -> EnvironmentState | None:
        """Return the state of dependencies if the view has them as installed."""
        state = _read(self._view.get(id))
        return state if state is not None and state.status == "installed" else None

    async def _wait(self, attempt: Attempt[Work], started_s: float) -> EnvironmentState:
        """Request dependencies, unless that is pending, and return their state once they are installed."""
        await attempt.wait_until_allowed()
        with attempt.waiting():
            state = await self._decided(attempt.work)
        if state.status == "failed":
            wall_time_s = asyncio.get_running_loop().time() - started_s
            raise DependenciesFailedError(state, _stage_of(state, is_cached=False, wall_time_s=wall_time_s))
        return state

    async def _decided(self, work: Work) -> EnvironmentState:
        """Return the state once the dependencies are installed or failed."""
        state = _read(self._view.get(work.dependencies_id))
        while True:
            requested_at_ms = 0
            if state is None or state.final:
                requested_at_ms = await self._publish(work.dependencies_id, self._request(work))
            state = await self._answer(work.dependencies_id, requested_at_ms)
            # The environment may be evicted or lost by now, or its build may have failed at lower limits.
            if state.status != "gone" and not state.failed_below(work.request.limits.dependencies):
                return state

    async def _answer(self, id: str, requested_at_ms: int) -> EnvironmentState:
        def is_answer(raw: bytes | None) -> bool:
            now = _read(raw)
            return now is not None and now.final and now.requested_at_ms >= requested_at_ms

        decided = _read(await self._view.wait_for(id, is_answer, None))
        assert decided is not None
        return decided

    async def _hold(
        self, holding: ExitStack, attempt: Attempt[Work], state: EnvironmentState
    ) -> tuple[Path, bool]:
        """Hold an environment until `holding` closes; return its tree, and whether it was on this host.

        Raises:
            EnvironmentNotFoundError: it was lost or evicted, or another was built meanwhile.
        """
        assert state.store_path
        is_here = True
        while True:
            try:
                return holding.enter_context(self._cache.hold(state.store_path)), is_here
            except EnvironmentNotFoundError:
                is_here = False
            with attempt.waiting():
                await self._fetch(state)

    async def _fetch(self, state: EnvironmentState) -> None:
        """Fetch an environment that another host built; if it cannot be had, publish Lost for a rebuild.

        Raises:
            EnvironmentNotFoundError: the environment was lost or evicted, or another was built meanwhile.
        """
        assert state.store_path

        def is_over(raw: bytes | None) -> bool:
            now = _read(raw)
            return now is None or (now.generation, now.status) != (state.generation, "installed")

        async with self._fetching.setdefault(state.id, asyncio.Lock()):
            if is_over(self._view.get(state.id)):
                raise EnvironmentNotFoundError(f"{state.store_path} was lost, or evicted")
            try:
                await self._cache.fetch(state.store_path, state.size_bytes or 0, self._evictions.announce)
            except EnvironmentNotFoundError as error:
                log.warning("dependencies %s are lost: %s", state.id, error)
                fact = Lost(generation=state.generation, host=self._host, reason=str(error))
                await self._publish(state.id, fact)
                await self._view.wait_for(state.id, is_over, None)  # so that Lost is published once
                raise

    def _request(self, work: Work) -> Requested:
        request: SubmissionRequest = work.request
        return Requested(
            dependencies=request.environment,
            package_set=work.package_set,
            system=SYSTEM,
            limits=request.limits.dependencies,
            owner=build_owner(work.owner),
        )

    async def _publish(self, id: str, fact: DependenciesFact) -> int:
        """Append a fact about dependencies; return its append time in milliseconds."""
        return (await self._events.publish(id, fact)).timestamp()[1]


def _stage_of(state: EnvironmentState, *, is_cached: bool, wall_time_s: float) -> DependenciesStage:
    return DependenciesStage(
        id=state.id,
        cached=is_cached,
        store_path=state.store_path,
        explanation=state.explanation,
        log=state.log,
        wall_time_s=round(wall_time_s, 6),
    )


def _read(raw: bytes | None) -> EnvironmentState | None:
    return None if raw is None else EnvironmentState.read(raw)
