"""Stop orders: attempts whose results are not needed any more."""

import logging
from collections.abc import Callable

from confluent_kafka import Message

from topics.kafka.codec import DecodeError, decode
from topics.kafka.ports import Clients
from topics.leases import StopOrder

log = logging.getLogger(__name__)


class StopOrders:
    """Reader of `submissions.stops` from the beginning; every worker reads all of it."""

    def __init__(self, clients: Clients, topic: str, on_stop: Callable[[str, int], None]) -> None:
        """Call `on_stop(id, attempt)` for each order."""
        self._follower = clients.follow(topic, self._apply, from_beginning=True)
        self._on_stop = on_stop
        self._latest: dict[str, int] = {}

    async def start(self) -> None:
        """Return when all present orders are read; continue to read later ones."""
        await self._follower.start()
        await self._follower.wait_caught_up()

    def is_stopped(self, id: str, attempt: int) -> bool:
        """Return whether an order for this attempt or a later one was read, so that it must not run."""
        return attempt <= self._latest.get(id, 0)

    async def close(self) -> None:
        """Stop reading the topic."""
        await self._follower.close()

    def _apply(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                order = decode(StopOrder, message.value())
            except DecodeError as error:
                log.warning("a stop order cannot be decoded, ignoring it: %s", error)
                continue
            self._latest[order.id] = max(order.attempt, self._latest.get(order.id, 0))
            self._on_stop(order.id, order.attempt)
