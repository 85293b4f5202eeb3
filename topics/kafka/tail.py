"""A consumer of every record of a topic, as it is appended, in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from topics.kafka.clients import BATCH_FETCH, READER, consume_batch, consumer_config, is_fatal
from topics.kafka.liveness import BrokersLostError, with_liveness_check
from topics.kafka.records import position
from topics.process import crash, release_memory
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

_BATCH = 250
_TO_THE_END = {"fetch.wait.max.ms": 10}
"""Settings until the end is reached: a broker reports the end of a partition after this wait only."""
_READ_AHEAD = {"queued.max.messages.kbytes": 8 * 1024}
"""Bound on fetched records that wait in memory until they are taken; the default is eight times as much."""

_IDLE_FETCH = {"fetch.wait.max.ms": 1000}
"""Longest wait of a fetch at the end of a topic. A record ends the wait, so it comes no later.

The default of 500 ms costs the broker twice as many requests while nothing happens.
"""

_CLOSE_S = 3.0
"""Longest wait for the end of the reader's thread: ten times what it takes while the broker answers."""

StartAt = Callable[[Consumer, set[int]], Mapping[int, int]]
"""Function from a topic's partitions to the offsets to start at; a partition left out is read from its
beginning."""


def beginning(_: Consumer, __: set[int]) -> Mapping[int, int]:
    """Start at the beginning of each partition."""
    return {}


def end(_: Consumer, partitions: set[int]) -> Mapping[int, int]:
    """Start at the present end of each partition."""
    return dict.fromkeys(partitions, OFFSET_END)


class Tail:
    """Reader of all partitions of one topic, which passes records to `take` in its own thread.

    A tail that cannot read on ends the process, since tasks that wait for its records would wait for ever.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        take: Callable[[list[Message]], None],
        *,
        start_at: StartAt,
        in_batches: bool = False,
    ) -> None:
        """Prepare a reader; `start` begins to read.

        `start_at` is called in the reader's thread, and again after a KafkaException. With `in_batches`, a
        reader that has caught up passes new records on twice a second.
        """
        self._topic, self._take, self._start_at = topic, take, start_at
        self._reading = consumer_config(settings, READER) | _READ_AHEAD | {"enable.partition.eof": True}
        self._reading_on = self._reading | (BATCH_FETCH if in_batches else _IDLE_FETCH)
        self._config = self._reading | _TO_THE_END
        self._consumer = Consumer(with_liveness_check(self._config))
        self._starts: Mapping[int, int] = {}
        self._closing = threading.Event()
        self._caught_up = asyncio.Event()
        self._read_to: dict[int, int] = {}
        self._looking: set[asyncio.Event] = set()
        self._thread = threading.Thread(target=self._run, name=f"tail-{topic}", daemon=True)

    async def start(self) -> None:
        """Begin to read in a thread, which waits for the broker and the topic."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def caught_up(self) -> bool:
        """Whether all records that existed at the start have been taken."""
        return self._caught_up.is_set()

    async def wait_caught_up(self) -> None:
        """Wait for `caught_up`; nothing that is appended afterwards is missed."""
        await self._caught_up.wait()

    async def wait_read_to(self, ends: Mapping[int, int]) -> None:
        """Wait until everything before these offsets of partitions has been taken."""
        read = asyncio.Event()
        self._looking.add(read)
        try:
            while self.behind(ends):
                await read.wait()
                read.clear()
        finally:
            self._looking.discard(read)

    def behind(self, ends: Mapping[int, int]) -> int:
        """Return the number of offsets between the records taken and these ends."""
        return sum(max(0, end - self._read_to.get(partition, 0)) for partition, end in ends.items())

    def _look(self) -> None:
        for read in self._looking:
            read.set()

    async def close(self) -> bool:
        """Stop reading. Return False if the reader's thread still waits for a broker that does not answer."""
        self._closing.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, _CLOSE_S)
        return not self._thread.is_alive()

    # -- the reader's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            unread = self._assign()
            while not self._closing.is_set():
                try:
                    unread -= self._read()
                except BrokersLostError as error:
                    self._recreate_client(error)
                if not unread and self._config is not self._reading_on:
                    self._loop.call_soon_threadsafe(self._caught_up.set)
                    to_the_end, self._config = self._consumer, self._reading_on
                    self._replace_client()
                    to_the_end.close()
                    release_memory()
            self._consumer.close()
        except Exception:
            log.exception("the thread that reads %s failed", self._topic)
            crash(f"{self._topic} cannot be read any more")

    def _assign(self) -> set[int]:
        logged = ""
        while not self._closing.is_set():
            try:
                metadata = self._consumer.list_topics(self._topic, timeout=2).topics[self._topic]
                if (partitions := set(metadata.partitions)) and not self._closing.is_set():
                    self._starts = self._start_at(self._consumer, partitions)
                    starts = {p: self._starts.get(p, OFFSET_BEGINNING) for p in partitions}
                    self._consumer.assign([TopicPartition(self._topic, p, at) for p, at in starts.items()])
                    return partitions
            except KafkaException as error:
                if str(error) != logged:
                    logged = str(error)
                    log.debug("reading %s waits for the broker: %s", self._topic, logged)  # the role logs it
            self._closing.wait(0.2)
        return set()

    def _recreate_client(self, why: BrokersLostError) -> None:
        """Replace the client, which is lost."""
        log.warning("recreating the consumer of %s: %s", self._topic, why)
        self._replace_client()

    def _replace_client(self) -> None:
        """Replace the client by another one at the same offsets."""
        where = self._consumer.position(self._consumer.assignment())
        for tp in where:
            tp.offset = tp.offset if tp.offset >= 0 else self._starts.get(tp.partition, OFFSET_BEGINNING)
        self._consumer = Consumer(with_liveness_check(self._config))
        self._consumer.assign(where)

    def _read(self) -> set[int]:
        """Take the available records; return the partitions whose end was reached."""
        taken: list[Message] = []
        ends: set[int] = set()
        read_to: dict[int, int] = {}
        for message in consume_batch(self._consumer, _BATCH, 0.1):
            error, (partition, offset) = message.error(), position(message)
            if error is None:
                read_to[partition] = offset + 1
                taken.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends.add(partition)
                read_to[partition] = offset
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("reading %s: %s", self._topic, error)
        if self._closing.is_set():  # `close` may have given up waiting, so the table may be closed
            return ends
        if taken:
            self._take(taken)
        self._read_to.update(read_to)
        if self._looking:
            self._loop.call_soon_threadsafe(self._look)
        return ends
