"""`Consumer` of the ports: a member of a simulated group, whose heartbeats the process sends by itself."""

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, Message
from typing_extensions import override

from tests.simulator import groups
from tests.simulator.broker import Log
from tests.simulator.groups import Group, UnstableOffsetError
from tests.simulator.network import BrokerError, Network
from tests.simulator.scheduler import Wait
from tests.simulator.virtual.errors import ANSWER_S, answered, timed_out
from tests.simulator.virtual.generators import run
from tests.simulator.virtual.loop import VirtualLoop
from topics.kafka import ports
from topics.kafka.ports import RebalanceListener

_LONGEST_WAIT_S = 1.0
_UNSTABLE_S = 0.05


class VirtualConsumer(ports.Consumer):
    """A client of the process that `loop` belongs to."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        group: Group,
        logs: list[Log],
        *,
        instance: str | None = None,
    ) -> None:
        self._loop, self._network, self._group, self._logs = loop, network, group, logs
        self._instance = instance
        self._paused = self._joined = False

    @override
    async def subscribe(self, listener: RebalanceListener) -> None:
        self._listener, self._joined = listener, True
        self._client = groups.Consumer(
            self._loop.scheduler,
            self._network,
            self._loop.process,
            self._group,
            self._logs,
            instance=self._instance,
            on_assign=self._on_assign,
            before_revoke=lambda partitions: self._react(listener.on_revoke(frozenset(partitions))),
            on_lost=lambda partitions: self._react(listener.on_lost(frozenset(partitions))),
        )

    @override
    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        deadline_s = self._loop.time() + timeout_s
        await asyncio.sleep(0)  # another thread polls, which takes time
        while True:
            try:
                messages: list[Message] = await run(
                    self._loop, self._client.poll_batch(0 if self._paused else max_records)
                )
            except BrokerError as error:  # confluent-kafka: a record that is an error, and is not `fatal()`
                return [Message(error=KafkaError(KafkaError._FATAL, str(error)))]
            left_s = deadline_s - self._loop.time()
            if messages or left_s <= 0:
                return messages
            await self._wait(left_s)

    async def _wait(self, timeout_s: float) -> None:
        """Wait for something to read, a rebalance, or the time to look whether the broker is back."""
        news = self._client.news()
        wait_s = min(timeout_s, self._loop.scheduler.random.random() * _LONGEST_WAIT_S)
        timer = self._loop.call_later(wait_s, news.set)
        await self._loop.answer(news)
        timer.cancel()

    @override
    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        member = self._client.member
        if member is None:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))
        asked = dict(offsets)
        await answered(self._loop, self._client.call(lambda: self._group.commit(member, asked)))
        return asked

    @override
    async def committed(self, partitions: Collection[int]) -> Mapping[int, int]:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._stable(partitions)
        except TimeoutError:
            raise timed_out() from None

    async def _stable(self, partitions: Collection[int]) -> dict[int, int]:
        while True:
            call = self._client.call(lambda: self._group.committed(partitions))
            try:
                return dict(await self._loop.answer(call))
            except UnstableOffsetError:  # librdkafka asks again by itself
                await asyncio.sleep(_UNSTABLE_S)

    @override
    def seek(self, offsets: Mapping[int, int]) -> None:
        if not offsets.keys() <= self._client.owned.keys():
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG, "a partition is not assigned"))
        self._client.seek(dict(offsets))

    @override
    def pause(self) -> None:
        self._paused = True

    @override
    def resume(self) -> None:
        self._paused = False

    @override
    def high_watermark(self, partition: int) -> int:
        return self._client.high_watermarks.get(partition, OFFSET_INVALID)

    @property
    @override
    def group_metadata(self) -> object | None:
        return self._client.member

    @override
    async def close(self) -> None:
        if self._joined:
            with suppress(BrokerError):  # such as: another one has its place
                await run(self._loop, self._client.close())

    # -- rebalances, within `poll` and `close` --------------------------------------------------------

    def _on_assign(self, partitions: list[int]) -> Wait:
        starts = yield from self._react(self._listener.on_assign(frozenset(partitions)))
        others = [p for p in partitions if p not in starts]
        committed = (yield self._client.call(lambda: self._group.committed(others))) if others else {}
        return {**committed, **{p: starts[p] for p in partitions if p in starts}}

    def _react(self, reaction: Coroutine[Any, Any, Any]) -> Wait:
        return (yield self._loop.reached(self._loop.create_task(reaction)))
