"""A consumer of every record of some topics, as they are appended, in a thread of its own.

Each topic has a `Tail`. Tails may share a `TailConsumer`: one thread, one connection to each broker and one
fetch session for all of them.
"""

import asyncio
import logging
import threading
from collections import defaultdict
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

Messages = list[Message]
"""Records of one topic, in the order of each partition."""

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
    """Reader of one topic, which passes records to `take` in the thread of its consumer."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        take: Callable[[Messages], None],
        *,
        start_at: StartAt,
        in_batches: bool = False,
        consumer: "TailConsumer | None" = None,
        on_caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a reader; `start` begins to read.

        `consumer` is shared with other topics; without one the tail has its own. `in_batches` is that of
        `TailConsumer`. `start_at`, `take` and `on_caught_up` are called in the consumer's thread, `start_at`
        again after a KafkaException.
        """
        self.topic, self.take, self._start_at = topic, take, start_at
        self._on_caught_up = on_caught_up
        self._starts: Mapping[int, int] = {}
        self._partitions: set[int] = set()
        self._unread: set[int] = set()
        self._read_to: dict[int, int] = {}
        self._caught_up = asyncio.Event()
        self._looking: set[asyncio.Event] = set()
        self._consumer = consumer or TailConsumer(settings, in_batches=in_batches)
        self._consumer.add(self)

    async def start(self) -> None:
        """Begin to read; a shared consumer begins when all of its tails were started."""
        self._loop = asyncio.get_running_loop()
        self._consumer.start(self)

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

    async def close(self) -> bool:
        """Stop reading, all topics of a shared consumer. Return what `TailConsumer.close` returns."""
        return await self._consumer.close()

    # -- the consumer's thread ------------------------------------------------------------------------

    def begin(self, consumer: Consumer, partitions: set[int]) -> None:
        """Find the offsets to start at.

        Raises:
            KafkaException: the broker did not answer.
        """
        self._starts = self._start_at(consumer, partitions)
        self._partitions, self._unread = set(partitions), set(partitions)

    def next_offsets(self) -> list[TopicPartition]:
        """Return the partitions with the offsets to read on at, which follow the records that were taken."""
        starts = {partition: self._starts.get(partition, OFFSET_BEGINNING) for partition in self._partitions}
        return [TopicPartition(self.topic, *at) for at in (starts | self._read_to).items()]

    def advance(self, read_to: Mapping[int, int], ends: set[int]) -> None:
        """Note the offsets up to which records were taken, and the partitions whose end was reached."""
        self._read_to.update(read_to)
        if self._unread:
            self._unread -= ends
            if not self._unread:
                self._on_caught_up()
                self._loop.call_soon_threadsafe(self._caught_up.set)
        if self._looking:
            self._loop.call_soon_threadsafe(self._look)

    @property
    def is_at_end(self) -> bool:
        """Whether the ends of all partitions were reached once."""
        return not self._unread

    def _look(self) -> None:
        for read in self._looking:
            read.set()


class TailConsumer:
    """Client and thread of some tails.

    A consumer that cannot read on ends the process, since tasks that wait for its records would wait for
    ever.
    """

    def __init__(self, settings: KafkaSettings, *, in_batches: bool = False) -> None:
        """Prepare a client. With `in_batches` it passes new records on twice a second, once caught up."""
        self._tails: dict[str, Tail] = {}
        self._ready: set[Tail] = set()
        self._reading = consumer_config(settings, READER) | _READ_AHEAD | {"enable.partition.eof": True}
        self._reading_on = self._reading | (BATCH_FETCH if in_batches else _IDLE_FETCH)
        self._config = self._reading | _TO_THE_END
        self._consumer = Consumer(with_liveness_check(self._config))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, tail: Tail) -> None:
        """Read one more topic; call it before `start`. Topics start in the order of the calls."""
        self._tails[tail.topic] = tail

    def start(self, tail: Tail) -> None:
        """Note that a tail is ready. Once all are, read in a thread, as soon as broker and topics exist."""
        self._ready.add(tail)
        if len(self._ready) == len(self._tails):
            self._thread.name = f"tail-{self._names}"
            self._thread.start()

    async def close(self) -> bool:
        """Stop reading. Return False if the thread still waits for a broker that does not answer."""
        self._closing.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, _CLOSE_S)
        return not self._thread.is_alive()

    # -- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._assign()
            while not self._closing.is_set():
                try:
                    self._read()
                except BrokersLostError as error:
                    self._recreate_client(error)
                if self._config is not self._reading_on and self._are_at_end():
                    to_the_end, self._config = self._consumer, self._reading_on
                    self._replace_client()
                    to_the_end.close()
                    release_memory()
            self._consumer.close()
        except Exception:
            log.exception("the thread that reads %s failed", self._names)
            crash(f"{self._names} cannot be read any more")

    @property
    def _names(self) -> str:
        return ", ".join(self._tails)

    def _are_at_end(self) -> bool:
        return all(tail.is_at_end for tail in self._tails.values())

    def _assign(self) -> None:
        waiting = list(self._tails.values())
        logged = ""
        while not self._closing.is_set():
            try:
                while waiting and self._begin(waiting[0]):
                    del waiting[0]
            except KafkaException as error:
                if str(error) != logged:
                    logged = str(error)
                    log.debug("reading %s waits for the broker: %s", self._names, logged)  # the role logs it
            if not waiting:
                self._consumer.assign(self._next_offsets())
                return
            self._closing.wait(0.2)

    def _begin(self, tail: Tail) -> bool:
        """Prepare a tail; return False if its topic does not exist yet."""
        partitions = set(self._consumer.list_topics(tail.topic, timeout=2).topics[tail.topic].partitions)
        if partitions and not self._closing.is_set():
            tail.begin(self._consumer, partitions)
        return bool(partitions)

    def _recreate_client(self, why: BrokersLostError) -> None:
        """Replace the client, which is lost."""
        log.warning("recreating the consumer of %s: %s", self._names, why)
        self._replace_client()

    def _replace_client(self) -> None:
        """Replace the client by another one, which reads on after the records that were taken.

        The position of the old client may be further: it drops the records of a call that fails.
        """
        self._consumer = Consumer(with_liveness_check(self._config))
        self._consumer.assign(self._next_offsets())

    def _next_offsets(self) -> list[TopicPartition]:
        return [tp for tail in self._tails.values() for tp in tail.next_offsets()]

    def _read(self) -> None:
        """Take the available records, in the order of each topic."""
        taken: defaultdict[Tail, list[Message]] = defaultdict(list)
        read_to: defaultdict[Tail, dict[int, int]] = defaultdict(dict)
        ends: defaultdict[Tail, set[int]] = defaultdict(set)
        for message in consume_batch(self._consumer, _BATCH, 0.1):
            error, (partition, offset) = message.error(), position(message)
            if error is None:
                tail = self._tails[message.topic() or ""]
                read_to[tail][partition] = offset + 1
                taken[tail].append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                tail = self._tails[message.topic() or ""]
                read_to[tail][partition] = offset
                ends[tail].add(partition)
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("reading %s: %s", self._names, error)
        if self._closing.is_set():  # `close` may have given up waiting, so tables may be closed
            return
        for tail, messages in taken.items():
            tail.take(messages)
        for tail, offsets in read_to.items():
            tail.advance(offsets, ends[tail])
