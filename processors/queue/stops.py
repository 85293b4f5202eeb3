"""Stop orders: attempts that nobody wants any more."""

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
    """Reads all of `submissions.stops`, from the beginning; every worker does."""

    def __init__(self, settings: KafkaSettings, topic: str, on_stop: Callable[[str, int], None]) -> None:
        """`on_stop(id, attempt)` is called on the loop that `start` was called on."""
        self._tail = Tail(settings, topic, self._take, start_at=beginning)
        self._on_stop = on_stop
        self._latest: dict[str, int] = {}

    async def start(self) -> None:
        """Read everything there is, then go on reading."""
        self._loop = asyncio.get_running_loop()
        await self._tail.start()
        await self._tail.wait_caught_up()

    def stopped(self, id: str, attempt: int) -> bool:
        """Whether this attempt must not run (any more)."""
        return attempt <= self._latest.get(id, 0)

    async def close(self) -> None:
        """Stop reading."""
        await self._tail.close()

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                order = decode(StopOrder, message.value())
            except DecodeError as error:
                log.warning("a stop order is unreadable: %s", error)
                continue
            self._latest[order.id] = max(order.attempt, self._latest.get(order.id, 0))
            self._loop.call_soon_threadsafe(self._on_stop, order.id, order.attempt)
