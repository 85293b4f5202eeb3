"""`TransactionalProducer` of the ports: records leave in the background, calls time out and are repeated."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from typing_extensions import override

from tests.simulator.broker import Broker, Log
from tests.simulator.network import BrokerError, Network
from tests.simulator.transactions import BusyError, Coordinator, FencedError
from tests.simulator.virtual.errors import ANSWER_S, kafka_exception, timed_out
from tests.simulator.virtual.loop import VirtualLoop
from topics.kafka import ports
from topics.kafka.codec import Record

_BUSY_S = 0.02
_QUEUE_RECORDS = 1000
_LOST_CHANCE, _RESEND_S = 0.05, 1.0
"""How often the answer to a commit is lost, and the time until it is sent again."""


class VirtualTransactionalProducer(ports.TransactionalProducer):
    """A client of the process that `loop` belongs to; `id` is its transactional id."""

    def __init__(
        self, loop: VirtualLoop, network: Network, broker: Broker, coordinator: Coordinator, id: str
    ) -> None:
        self._loop, self._network, self._broker, self._coordinator = loop, network, broker, coordinator
        self._id, self._epoch = id, 0
        self._is_open = False
        self._queue: list[tuple[Record, int]] = []
        """Records of the open transaction that have not left. Each transaction has a list of its own."""
        self._sending: list[asyncio.Task[None]] = []
        self._fatal: KafkaException | None = None
        self._operation: tuple[str, asyncio.Task[Any]] | None = None

    @override
    async def init(self) -> None:
        async def initialise() -> None:
            self._epoch = await self._call(lambda: self._coordinator.init(self._id))
            self._fatal, self._is_open = None, False

        await self._perform("init", initialise)

    @override
    def begin(self) -> None:
        self._check()
        if self._is_open:
            raise KafkaException(KafkaError(KafkaError._STATE, "a transaction is open"))
        self._is_open, self._queue, self._sending = True, [], []

    @override
    def produce(self, record: Record, *, partition: int = -1) -> None:
        self._check()
        if not self._is_open:
            raise KafkaException(KafkaError(KafkaError._STATE, "no transaction is open"))
        if len(self._queue) >= _QUEUE_RECORDS:
            raise BufferError("Local: Queue full")
        if not self._queue:
            sending = self._loop.create_task(self._send(self._queue))
            sending.add_done_callback(_noted)
            self._sending.append(sending)
        self._queue.append((record, partition))

    @override
    async def send_offsets(self, topic: str, offsets: Mapping[int, int], group_metadata: object) -> None:
        member, asked, epoch = group_metadata, dict(offsets), self._epoch
        assert member is None or isinstance(member, str)

        async def send() -> None:
            await self._call(lambda: self._coordinator.add_offsets(self._id, epoch, member, asked))

        await self._perform("send_offsets", send)

    @override
    async def commit(self) -> None:
        await self._perform("commit", self._commit)

    @override
    async def abort(self) -> None:
        if not self._is_open:
            raise KafkaException(KafkaError(KafkaError._STATE, "no transaction is open"))
        await self._perform("abort", self._abort)

    @override
    def close(self) -> None:
        pass

    # -- in the background ----------------------------------------------------------------------------

    async def _send(self, queue: list[tuple[Record, int]]) -> None:
        """Send what is queued, in order within each partition, once the last transaction is over."""
        epoch = self._epoch
        while True:
            try:
                await self._call(lambda: self._coordinator.ready(self._id, epoch))
                break
            except BusyError:
                await asyncio.sleep(_BUSY_S)
        by_log: defaultdict[Log, list[Record]] = defaultdict(list)
        for record, partition in queue:
            key = record.key.encode() if isinstance(record.key, str) else record.key
            by_log[self._broker.log_of(record.topic, key, partition)].append(record)
        queue.clear()
        sent = [self._loop.answer(self._append(epoch, *each)) for each in by_log.items()]
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _append(self, epoch: int, log: Log, records: list[Record]) -> Any:
        def append() -> None:
            for record in records:
                self._coordinator.append(self._id, epoch, log, record)

        return self._network.call(self._loop.process, append, channel=(self._loop.process.name, log))

    async def _commit(self) -> None:
        for sending in self._sending:
            await sending
        epoch, random = self._epoch, self._loop.scheduler.random
        await self._call(lambda: self._coordinator.end(self._id, epoch, committed=True))
        if random.random() < _LOST_CHANCE:  # librdkafka sends it again, and may find itself fenced
            await asyncio.sleep(_RESEND_S)
            await self._call(lambda: self._coordinator.end(self._id, epoch, committed=True))
        self._is_open = False

    async def _abort(self) -> None:
        self._queue.clear()  # what has not left
        for sending in self._sending:
            with suppress(BrokerError):
                await sending
        await self._call(lambda: self._coordinator.end(self._id, self._epoch, committed=False))
        self._is_open = False

    # -- calls ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    async def _call(self, request: Callable[[], Any]) -> Any:
        return await self._loop.answer(self._network.call(self._loop.process, request))

    async def _perform(self, name: str, operation: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for an operation for a while; a repeated call waits for the same one.

        Raises:
            KafkaException: it failed, or takes longer.
        """
        if name != "init":
            self._check()
        if self._operation is None:
            self._operation = (name, self._loop.create_task(operation()))
        under_way, task = self._operation
        if under_way != name:
            raise KafkaException(KafkaError(KafkaError._CONFLICT, f"{under_way} is in progress"))
        await asyncio.wait([task], timeout=ANSWER_S)
        if not task.done():
            raise timed_out()
        self._operation = None
        try:
            task.result()
        except BrokerError as error:
            raised = kafka_exception(error, in_transaction=name != "init")
            if isinstance(error, FencedError):
                self._fatal = raised
            raise raised from None


def _noted(sending: "asyncio.Task[None]") -> None:
    """What went wrong is raised by `commit`, if it comes to that."""
    if not sending.cancelled():
        sending.exception()
