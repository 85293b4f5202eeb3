"""Stop orders: attempts whose results are not needed any more."""

import asyncio
import logging
from collections.abc import Callable

from confluent_kafka import Message

from topics.kafka.codec import DecodeError, decode
from topics.kafka.tail import Tail, beginning
from topics.leases import StopOrder
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)


class StopOrders:
    """Reader of `submissions.stops` from the beginning; every worker reads all of it."""

    def __init__(self, settings: KafkaSettings, topic: str, on_stop: Callable[[str, int], None]) -> None:
        """Call `on_stop(id, attempt)` for each order, on the event loop that called `start`."""
        self._tail = Tail(settings, topic, self._take, start_at=beginning)
        self._on_stop = on_stop
        self._latest: dict[str, int] = {}

    async def start(self) -> None:
        """Return when all present orders are read; continue to read later ones."""
        self._loop = asyncio.get_running_loop()
        await self._tail.start()
        await self._tail.wait_caught_up()

    def stopped(self, id: str, attempt: int) -> bool:
        """Return whether an order for this attempt or a later one was read, so that it must not run."""
        return attempt <= self._latest.get(id, 0)

    async def close(self) -> None:
        """Stop reading the topic."""
        await self._tail.close()

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                order = decode(StopOrder, message.value())
            except DecodeError as error:
                log.warning("a stop order cannot be decoded, ignoring it: %s", error)
                continue
            self._latest[order.id] = max(order.attempt, self._latest.get(order.id, 0))
            self._loop.call_soon_threadsafe(self._on_stop, order.id, order.attempt)
