"""Publication of evictions, before an environment is removed from a host."""

import asyncio
from collections.abc import Iterator

from topics.dependencies.facts import Evicted
from topics.dependencies.state import EnvironmentState
from topics.kafka.fact_publisher import FactPublisher
from topics.request.model import BASE
from topics.views.view import View


class Evictions:
    """Publisher of Evicted facts of one host to `dependencies.events`."""

    def __init__(self, view: View, events: FactPublisher, *, host: str) -> None:
        """Read installed environments from `view`, a view of `dependencies.store`."""
        self._view, self._events, self._host = view, events, host

    async def announce(self, store_path: str) -> bool:
        """Publish Evicted for every set of dependencies with this store path; return False if it must stay.

        The base environment stays: all environments share its files, so that its removal would free no space.
        """
        await self._view.wait_caught_up()
        states = list(self._installed(store_path))
        if any(state.dependencies == BASE for state in states):
            return False
        await asyncio.gather(*map(self._publish, states))
        return True

    def _installed(self, store_path: str) -> Iterator[EnvironmentState]:
        """Yield the sets of dependencies that are installed under this store path.

        Different spellings of one environment are several sets. None is left if Evicted was published for all
        of them before. Sets that another host built are included: the fold handles these.
        """
        for _, raw in self._view.values():
            if store_path.encode() in raw:  # spares parsing the others, which are most
                state = EnvironmentState.read(raw)
                if (state.status, state.store_path) == ("installed", store_path):
                    yield state

    async def _publish(self, state: EnvironmentState) -> None:
        fact = Evicted(generation=state.generation, host=self._host)
        await self._events.publish(state.id, fact)
