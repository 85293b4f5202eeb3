"""Mirrors `processors/queue/stops.py`."""

from typing import TYPE_CHECKING

from tests.simulator.attempts import Attempts
from tests.simulator.broker import Log
from topics.kafka.codec import decode
from topics.leases import StopOrder

if TYPE_CHECKING:
    from tests.simulator.world import World


class StopOrders:
    """`StopOrders`: all of `submissions.stops`, from the beginning."""

    def __init__(self, world: "World", log: Log, attempts: Attempts) -> None:
        self._world, self._log, self._attempts = world, log, attempts
        self._latest: dict[str, int] = {}
        self._position = 0

    def read(self) -> None:
        """Take in what is there."""
        read = self._log.read(self._position, 1000)
        self._position = read.position
        for message in read.messages:
            order = decode(StopOrder, message.value())
            self._latest[order.id] = max(order.attempt, self._latest.get(order.id, 0))
            self._attempts.cancel(order.id, order.attempt)

    def stopped(self, id: str, attempt: int) -> bool:
        """Whether this attempt must not run (any more)."""
        return attempt <= self._latest.get(id, 0)
