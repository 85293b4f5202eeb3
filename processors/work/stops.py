"""Stop orders: attempts that nobody wants any more."""

import asyncio
import logging
import threading
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from topics.clients import consume_batch, consumer_config, is_fatal
from topics.codec import UndecodableError, decode
from topics.crash import crash
from topics.leases import StopOrder
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)


class StopOrders:
    """Reads all of `submissions.stops`, from the beginning; every worker does."""

    def __init__(self, settings: KafkaSettings, topic: str, on_stop: Callable[[str, int], None]) -> None:
        """`on_stop(id, attempt)` is called on the loop that `start` was called on."""
        self._topic, self._on_stop = topic, on_stop
        self._consumer = Consumer(
            consumer_config(settings, "stops") | {"enable.partition.eof": True, "fetch.wait.max.ms": 100}
        )
        self._latest: dict[str, int] = {}
        self._closing = threading.Event()
        self._caught_up = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="stops", daemon=True)

    async def start(self) -> None:
        """Read everything there is, then go on reading."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        await self._caught_up.wait()

    def stopped(self, id: str, attempt: int) -> bool:
        """Whether this attempt must not run (any more)."""
        return attempt <= self._latest.get(id, 0)

    async def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        partitions: list[int] = []
        while not partitions and not self._closing.is_set():
            try:
                partitions = sorted(
                    self._consumer.list_topics(self._topic, timeout=10).topics[self._topic].partitions
                )
            except KafkaException as exception:
                log.warning("stop orders wait for the broker: %s", exception)
            self._closing.wait(0 if partitions else 0.2)
        self._consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in partitions])
        unread = set(partitions)
        while not self._closing.is_set():
            for message in consume_batch(self._consumer, 1000, 0.1):
                error = message.error()
                if error is None:
                    self._take(message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
                elif is_fatal(error):
                    crash(f"stop orders cannot be read on: {error}")
            if not unread and not self._caught_up.is_set():
                self._loop.call_soon_threadsafe(self._caught_up.set)
        self._consumer.close()

    def _take(self, value: str | bytes | None) -> None:
        try:
            order = decode(StopOrder, value)
        except UndecodableError as error:
            log.warning("a stop order is unreadable: %s", error)
            return
        self._latest[order.id] = max(order.attempt, self._latest.get(order.id, 0))
        self._loop.call_soon_threadsafe(self._on_stop, order.id, order.attempt)
