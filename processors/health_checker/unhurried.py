"""Faust's consumer, reading in batches.

Told of each lease as it comes, a health checker costs the broker and itself more than the rest of a short
submission does together. Faust has no setting for it.
"""

from typing import Any

import faust
from faust.transport.drivers import aiokafka

FETCH_BYTES = 1024 * 1024
FETCH_WAIT_MS = 250
"""So much later, at most, it hears of a lease or a tick; what counts are the times of their appending."""


class _Thread(aiokafka.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = FETCH_BYTES, FETCH_WAIT_MS
        return consumer


class _Consumer(aiokafka.Consumer):
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(aiokafka.Transport):
    Consumer = _Consumer


def read_in_batches(app: faust.App) -> None:
    """To be called before the app starts."""
    app.transport = _Transport(app.conf.broker_consumer, app)
