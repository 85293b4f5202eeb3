"""Making a submission's dependencies available in this host's Cache, built here or on another host."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from nix.cache import Cache
from nix.errors import EnvironmentNotFoundError
from processors.evictions import Evictions
from topics.catalogue import Catalogue
from topics.dependencies.facts import FACTS, DependenciesFact, Lost, Requested
from topics.dependencies.state import EnvironmentState
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.request.model import SubmissionRequest
from topics.submissions.acceptance import SYSTEM
from topics.submissions.state import Work
from topics.views.view import View

log = logging.getLogger(__name__)


class EnvironmentClient:
    """A worker's access to environments: a view of `dependencies.store`, requests, and the host's Cache."""

    def __init__(
        self,
        catalogue: Catalogue,
        view: View,
        producer: EventProducer,
        cache: Cache,
        *,
        host: str,
        source: str,
    ) -> None:
        self._topic = catalogue.dependencies.events.name
        self._view, self._producer, self._cache = view, producer, cache
        self._host, self._source = host, source
        self._obtaining: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._evictions = Evictions(catalogue, view, producer, host=host, source=source)

    def known(self, id: str) -> EnvironmentState | None:
        """Return the state of dependencies as far as the view has read; None if they are unknown."""
        return _read(self._view.get(id))

    async def wait(self, work: Work) -> EnvironmentState:
        """Request the dependencies, unless that is pending, and wait until they are installed or failed."""
        state = self.known(work.dependencies_id)
        while True:
            asked_at_ms = 0
            if state is None or state.final:
                asked_at_ms = await self._append(work.dependencies_id, self._request(work))
            state = await self._decided(work.dependencies_id, asked_at_ms)
            # The environment may be evicted or lost by now, or its build may have failed at lower limits.
            if state.status != "gone" and not state.failed_below(work.request.limits.dependencies):
                return state

    async def _decided(self, id: str, asked_at_ms: int) -> EnvironmentState:
        def answered(raw: bytes | None) -> bool:
            now = _read(raw)
            return now is not None and now.final and now.requested_at_ms >= asked_at_ms

        decided = _read(await self._view.wait_for(id, answered, None))
        assert decided is not None
        return decided

    @contextmanager
    def mounted(self, state: EnvironmentState) -> Iterator[Path]:
        """Hold the environment in the Cache and yield its tree.

        Raises:
            EnvironmentNotFoundError: this host does not have the environment; see `obtain`.
        """
        assert state.store_path
        with self._cache.hold(state.store_path) as tree:
            yield tree

    async def obtain(self, state: EnvironmentState) -> None:
        """Fetch an environment that another host built; if it cannot be had, publish Lost for a rebuild.

        Raises:
            EnvironmentNotFoundError: the environment was lost or evicted, or another was built meanwhile.
        """
        assert state.store_path

        def over(raw: bytes | None) -> bool:
            now = _read(raw)
            return now is None or (now.generation, now.status) != (state.generation, "installed")

        async with self._obtaining.setdefault(state.id, asyncio.Lock()):
            if over(self._view.get(state.id)):
                raise EnvironmentNotFoundError(f"{state.store_path} was lost, or evicted")
            try:
                await self._cache.fetch(state.store_path, state.size_bytes or 0, self._evictions.announce)
            except EnvironmentNotFoundError as error:
                log.warning("dependencies %s are lost: %s", state.id, error)
                fact = Lost(generation=state.generation, host=self._host, reason=str(error))
                await self._append(state.id, fact)
                await self._view.wait_for(state.id, over, None)  # so that Lost is published once
                raise

    def _request(self, work: Work) -> Requested:
        request: SubmissionRequest = work.request
        return Requested(
            dependencies=request.environment,
            package_set=work.package_set,
            system=SYSTEM,
            limits=request.limits.dependencies,
        )

    async def _append(self, id: str, fact: DependenciesFact) -> int:
        """Append a fact about dependencies; return its append time in milliseconds."""
        message = await self._producer.send(encode_fact(self._topic, id, fact, FACTS, self._source))
        return message.timestamp()[1]


def _read(raw: bytes | None) -> EnvironmentState | None:
    return None if raw is None else EnvironmentState.read(raw)
