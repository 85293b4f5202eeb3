"""Consumption of a queue. Only the consumer group distributes the records.

A record is started only if there is a free slot, or room to prepare it while it waits for one. Otherwise it
waits in memory, and is redirected if another worker has a free slot. If a partition is revoked, running work
of it is leased and committed first (rule 4), and waiting records are dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection, Mapping
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from confluent_kafka import KafkaException, Message

from processors.queue.acknowledgements import acknowledged
from processors.queue.commits import CommitLinger, OffsetCommitter
from processors.queue.first_deliveries import FirstDeliveries
from processors.queue.offsets import Delivery, Offsets
from processors.queue.redistribution import PATIENCE_S, READ_AHEAD, QueueRedistribution, Redirect, Waiting
from topics.fold import QueuedWork
from topics.kafka.clients import is_fatal
from topics.kafka.codec import DecodeError, decode, make_dead_letter
from topics.kafka.ports import Consumer, Producer
from topics.model import Model

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT", bound=Model)

_FULL_POLL_S = 0.5
"""Period in which a full worker polls, finally with paused partitions, so that rebalances are answered."""
_POLL_S, _IDLE_POLL_S = 0.1, 0.25
"""Time to wait for a record, for which commits wait as well. The second value applies if none is due."""
_UNDECIDED_S = 0.1
"""Time to wait before checking again which other process can hold work that is too large here."""
CLIENT_OPTIONS: dict[str, Any] = {
    # Long enough to wait for acknowledgements while the broker is not reachable; heartbeats continue.
    "max.poll.interval.ms": 24 * 3_600_000,
    "queued.max.messages.kbytes": 16384,
}
"""Options of the client that consumes a queue."""


class WorkHandler(Protocol[WorkT]):
    """Receiver of the consumed work."""

    def free_slots(self) -> int:
        """Return how many records may be started now, in any case."""
        ...

    def room(self) -> int:
        """Return how many records may be started now if no other process has a free slot.

        That is `free_slots`, or more if work can be prepared while it waits for a slot.
        """
        ...

    def start(self, delivery: Delivery[WorkT], *, is_first_delivery: bool) -> Awaitable[object] | None:
        """Start the work; settle the delivery once its end is acknowledged.

        Return None if the work runs at once. Else return an awaitable that is done once the work is leased
        and committed, so that it may run.
        """
        ...

    async def lease(self, deliveries: Collection[Delivery[WorkT]]) -> None:
        """Lease the work of these deliveries, and settle them once that is acknowledged."""
        ...


class QueueConsumer(Generic[WorkT]):
    """The member of the group of one queue; it passes work to its handler."""

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        handler: WorkHandler[WorkT],
        model: type[WorkT],
        *,
        queue: str,
        dead_letters: str,
        redistribution: QueueRedistribution | None = None,
    ) -> None:
        """Take work of type `model` from the topic `queue`, and write what cannot be read to `dead_letters`.

        Without `redistribution` every record waits for this process.
        """
        self._consumer, self._producer, self._handler = consumer, producer, handler
        self._model, self._queue, self._dead_letters = model, queue, dead_letters
        self._redistribution = redistribution
        self.offsets: Offsets[WorkT] = Offsets()
        self.committer = OffsetCommitter(consumer, self.offsets, queue)
        self._linger = CommitLinger(self.committer)
        self._first_deliveries = FirstDeliveries()
        self._partitions: set[int] = set()
        self._waiting: list[Waiting] = []
        """Records of assigned partitions, in the order of each, behind all records that were started."""
        self._polled_s, self._has_read_all = 0.0, True
        self._undecided_until_s = 0.0
        """Time until which nothing is started: others may still publish that they can hold larger work."""
        self._is_stopping = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Consume until `stop`; then all started work is finished, or leased and committed.

        Raises:
            KafkaException: the client is unusable, or a record cannot be published.
        """
        await self._consumer.subscribe(self)
        while not self._is_stopping:
            await self._step()
        await self._consumer.close()
        await self.on_lost(frozenset(self._partitions))

    def stop(self) -> None:
        """Ask `run` to return."""
        self._is_stopping = True
        self._changed.set()

    def slots_may_have_changed(self) -> None:
        """Note that the number of free slots may have changed, here or at other processes."""
        self._changed.set()
        self._announce()

    def settle(self, delivery: Delivery[WorkT]) -> None:
        """Settle a delivery whose end is acknowledged; its offset is committed soon."""
        delivery.settled = True
        self._linger.commit_soon()

    # -- rebalances, within `poll` and `close` --------------------------------------------------------

    async def on_assign(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Start at the committed offsets."""
        self._partitions.update(partitions)
        self._announce()
        return {}

    async def on_revoke(self, partitions: Collection[int]) -> None:
        """Lease and commit running work, since the next owner of a partition begins at the commit."""
        await self._handler.lease(self.offsets.unsettled(partitions))
        await self.committer.commit()
        await self.on_lost(partitions)

    async def on_lost(self, partitions: Collection[int]) -> None:
        """Drop waiting records of lost partitions.

        Started work without a commit is redelivered: two processes then run one attempt (rule 3).
        """
        self._partitions.difference_update(partitions)
        self.offsets.forget(partitions)
        self._first_deliveries.forget(partitions)
        self._waiting = [each for each in self._waiting if each.message.partition() in self._partitions]
        self._announce()

    # -- the loop ------------------------------------------------------------------------------------

    async def _step(self) -> None:
        self._changed.clear()
        self._announce()
        free, room = self._handler.free_slots(), self._handler.room()
        if free > 0 and self._can_start():
            await self._start_first(free)
        elif room > 0 and self._can_start():
            await self._redirect_or_start(room)
        elif not self._waiting:
            self._consumer.resume()
            await self._read(max(free, 1), self._patience_s())
        elif not await self._redirect():
            await self._wait_for_slot()

    def _can_start(self) -> bool:
        return bool(self._waiting) and _now_s() >= self._undecided_until_s

    async def _start_first(self, number: int) -> None:
        starting, self._waiting = self._waiting[:number], self._waiting[number:]
        await self._start([each.message for each in starting])

    async def _redirect_or_start(self, room: int) -> None:
        """Start records beyond the free slots only if no other process would start them at once."""
        if await self._redirect():
            return
        if self._redistribution and self._redistribution.is_too_early(self._waiting):
            await self._wait_for_slot()
        else:
            await self._start_first(room)

    def _patience_s(self) -> float:
        """Return for how long a poll waits: not at all if free slots were not published, as more may wait."""
        if not self._has_read_all:
            return 0
        return _IDLE_POLL_S if self.offsets.is_empty else _POLL_S

    async def _read(self, limit: int, timeout_s: float) -> None:
        """Read records until `limit` of them wait, or a commit is due; `timeout_s` applies to the first.

        Each record has a poll of its own, so that a revocation during a poll finds all records read before.
        """
        message = await self._poll(timeout_s)
        while message is not None:
            if (error := message.error()) is None:
                self._waiting.append(Waiting(message, _now_s()))
            elif is_fatal(error):
                raise KafkaException(error)
            else:
                log.warning("consuming %s: %s", self._queue, error)
            # A commit that waited for the poll is a request to the broker; what was read starts meanwhile.
            is_enough = len(self._waiting) >= limit or self.committer.is_committing
            self._has_read_all &= not is_enough
            message = None if is_enough else await self._poll(0)

    async def _poll(self, timeout_s: float) -> Message | None:
        self._polled_s = _now_s()
        messages = await self._consumer.poll(1, timeout_s)
        self._has_read_all |= not messages
        return messages[0] if messages else None

    async def _start(self, messages: list[Message]) -> None:
        """Start work; return once that which may have been delivered before is leased and committed."""
        starting: list[Awaitable[object]] = []
        for number, message in enumerate(messages):
            try:
                work = decode(self._model, message.value())
            except DecodeError as unreadable:
                letter = make_dead_letter(self._dead_letters, message, str(unreadable))
                await self._settle_by([Redirect(letter, -1)], [message])
                continue
            if self._redistribution and self._redistribution.is_too_large(_memory_bytes(work)):
                if redirect := self._redistribution.to_abler(message, _memory_bytes(work)):
                    await self._settle_by([redirect], [message])
                    continue
                if not self._redistribution.knows_others():
                    self._postpone(messages[number:])
                    break
                # No process can hold it: start it, so that its handler refuses it.
            is_first = self._is_first_delivery(message)
            if securing := self._handler.start(self._add(message, work), is_first_delivery=is_first):
                starting.append(securing)
        await asyncio.gather(*starting)

    def _postpone(self, messages: list[Message]) -> None:
        now_s = _now_s()
        self._waiting[:0] = [Waiting(message, now_s) for message in messages]
        self._undecided_until_s = now_s + _UNDECIDED_S

    def _is_first_delivery(self, message: Message) -> bool:
        high_watermark = self._consumer.high_watermark(message.partition() or 0)
        return self._first_deliveries.is_first(message, high_watermark)

    def _add(self, message: Message, work: WorkT | None) -> Delivery[WorkT]:
        delivery = Delivery(message.partition() or 0, message.offset() or 0, work)
        self.offsets.add(delivery)
        return delivery

    # -- while the worker is full --------------------------------------------------------------------

    async def _redirect(self) -> bool:
        """Redirect records that others would start at once; return False if there are none."""
        elsewhere = self._redistribution.elsewhere() if self._redistribution else 0
        if not self._redistribution or not elsewhere:
            return False
        if (missing := min(elsewhere, READ_AHEAD) - len(self._waiting)) > 0:
            self._consumer.resume()
            await self._read(len(self._waiting) + missing, 0)
        redirects = self._redistribution.redirects(self._waiting)
        if not redirects:
            return False
        redirecting, self._waiting = self._waiting[: len(redirects)], self._waiting[len(redirects) :]
        await self._settle_by(redirects, [each.message for each in redirecting])
        return True

    async def _wait_for_slot(self) -> None:
        # A slot elsewhere that was only expected to be taken becomes free again without a message.
        has_others = self._redistribution is not None and self._redistribution.others
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S if has_others else _FULL_POLL_S):
                await self._changed.wait()
        if _now_s() - self._polled_s >= _FULL_POLL_S:
            # Paused as late as possible: after a pause the next fetch may take `fetch.wait.max.ms`.
            if len(self._waiting) >= READ_AHEAD:
                self._consumer.pause()
            await self._read(len(self._waiting) + 1, 0)

    async def _settle_by(self, records: list[Redirect], messages: list[Message]) -> None:
        """Settle messages by records that are published instead."""
        deliveries = [self._add(message, None) for message in messages]
        await acknowledged([self._producer.publish(record, partition=to) for record, to in records])
        for delivery in deliveries:
            self.settle(delivery)

    def _announce(self) -> None:
        if self._redistribution:
            is_idle = self._has_read_all and not self._waiting
            free = self._handler.free_slots()
            self._redistribution.update(frozenset(self._partitions), free, idle=is_idle)


def _memory_bytes(work: Model) -> int:
    return work.memory_bytes if isinstance(work, QueuedWork) else 0


def _now_s() -> float:
    return asyncio.get_running_loop().time()
