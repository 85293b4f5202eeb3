"""Saying which environments go, to all who may count on them."""

import asyncio
from collections.abc import Iterator

from topics.catalogue import Catalogue
from topics.dependencies.facts import FACTS, Evicted
from topics.dependencies.state import EnvironmentState
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.request.model import BASE
from topics.views.view import View


class Evictions:
    """What the evictions of one host say on `dependencies.events`."""

    def __init__(
        self, catalogue: Catalogue, view: View, producer: EventProducer, *, host: str, source: str
    ) -> None:
        """`view` is of `dependencies.store`."""
        self._topic = catalogue.dependencies.events.name
        self._view, self._producer = view, producer
        self._host, self._source = host, source

    async def announce(self, store_path: str) -> bool:
        """Say Evicted of all dependencies that this environment is; False where it must stay.

        The base stays: every environment has the same files, so that it takes no room of its own.
        """
        await self._view.wait_caught_up()
        states = list(self._installed(store_path))
        if any(state.dependencies == BASE for state in states):
            return False
        await asyncio.gather(*map(self._say, states))
        return True

    def _installed(self, store_path: str) -> Iterator[EnvironmentState]:
        """Spellings of one environment are several sets of dependencies; none where all was said before.

        Those that another host built are among them: the fold knows what that means.
        """
        for _, raw in self._view.values():
            if store_path.encode() in raw:  # few are: the rest need not be parsed
                state = EnvironmentState.read(raw)
                if (state.status, state.store_path) == ("installed", store_path):
                    yield state

    async def _say(self, state: EnvironmentState) -> None:
        fact = Evicted(generation=state.generation, host=self._host)
        await self._producer.send(encode_fact(self._topic, state.id, fact, FACTS, self._source))
