"""The ports of `topics.kafka.ports` on confluent-kafka: each client has a thread, which polls and commits."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from typing_extensions import override

from topics.kafka import ports
from topics.kafka.client_thread import ClientThread
from topics.kafka.clients import PauseControl, consume_batch, consumer_config, leave
from topics.kafka.liveness import with_liveness_check
from topics.kafka.ports import RebalanceListener
from topics.kafka.tail import Tail, beginning, end
from topics.settings import KafkaSettings

T = TypeVar("T")

_COMMITTED_S = 10.0
"""Longest wait for an answer about committed offsets."""


class ConfluentConsumer(ports.Consumer):
    """`Consumer` of the ports: its thread polls, and commits between polls and within rebalances."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topic: str,
        options: Mapping[str, object] = {},
        *,
        instance: str | None = None,
    ) -> None:
        """Prepare a member of `group`, a name without the prefix of the system; `subscribe` joins it.

        `options` override settings of the client; `instance` makes the member a static one.
        """
        static = {"group.instance.id": instance} if instance else {}
        config = consumer_config(settings, group) | dict(options) | static
        self._consumer = Consumer(with_liveness_check(config))
        self._pause_control = PauseControl(self._consumer)
        self._topic, self._is_static = topic, instance is not None
        self._thread = ClientThread(f"poll-{topic}")

    @override
    async def subscribe(self, listener: RebalanceListener) -> None:
        self._loop, self._listener = asyncio.get_running_loop(), listener
        await self._thread.call(
            lambda: self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        )

    @override
    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        return await self._thread.call(lambda: consume_batch(self._consumer, max_records, timeout_s))

    @override
    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        committing = self._at(offsets)
        done = await self._thread.call(lambda: self._consumer.commit(offsets=committing, asynchronous=False))
        return {tp.partition: tp.offset for tp in done if tp.error is None}

    @override
    async def committed(self, partitions: Collection[int]) -> Mapping[int, int]:
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        found = await self._thread.call(lambda: self._consumer.committed(asked, _COMMITTED_S))
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return {each.partition: max(each.offset, 0) for each in found}

    @override
    def seek(self, offsets: Mapping[int, int]) -> None:
        starts = self._at(offsets)
        self._consumer.incremental_unassign(starts)
        self._consumer.incremental_assign(starts)

    @override
    def pause(self) -> None:
        self._pause_control.pause()

    @override
    def resume(self) -> None:
        self._pause_control.release()

    @override
    def high_watermark(self, partition: int) -> int:
        where = TopicPartition(self._topic, partition)
        return int(self._consumer.get_watermark_offsets(where, cached=True)[1])

    @property
    @override
    def group_metadata(self) -> object | None:
        metadata = self._consumer.consumer_group_metadata()
        return metadata if self._consumer.memberid() else None

    @override
    async def close(self) -> None:
        await self._thread.call(lambda: leave(self._consumer, is_static=self._is_static))
        self._thread.stop()

    # -- callbacks in the thread -----------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._pause_control.on_assign(consumer, assigned)
        offsets = self._on_loop(self._listener.on_assign(_numbers(assigned)))
        for each in assigned:
            each.offset = offsets.get(each.partition, each.offset)
        consumer.incremental_assign(assigned)

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._on_loop(self._listener.on_revoke(_numbers(revoked)))
        consumer.incremental_unassign(revoked)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._on_loop(self._listener.on_lost(_numbers(lost)))
        consumer.incremental_unassign(lost)

    def _on_loop(self, reaction: "Coroutine[Any, Any, T]") -> T:
        return self._thread.wait_for(reaction, self._loop)

    def _at(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]


class ConfluentFollower(ports.Follower):
    """`Follower` of the ports: the thread of a `Tail` reads, the event loop takes the records."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        take: Callable[[list[Message]], None],
        *,
        from_beginning: bool,
    ) -> None:
        """Prepare a reader; `take` is called on the event loop that calls `start`."""
        start_at = beginning if from_beginning else end
        self._tail = Tail(settings, topic, self._pass_on, start_at=start_at)
        self._take = take

    @override
    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._tail.start()

    @override
    async def wait_caught_up(self) -> None:
        await self._tail.wait_caught_up()

    @override
    async def close(self) -> object:
        return await self._tail.close()

    def _pass_on(self, messages: list[Message]) -> None:
        self._loop.call_soon_threadsafe(self._take, messages)


class ConfluentClients(ports.Clients):
    """`Clients` of the ports, for the brokers of `settings`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    @override
    def consumer(self, group: str, topic: str, options: Mapping[str, object] = {}) -> ConfluentConsumer:
        return ConfluentConsumer(self._settings, group, topic, options)

    @override
    def follow(
        self, topic: str, take: Callable[[list[Message]], None], *, from_beginning: bool
    ) -> ConfluentFollower:
        return ConfluentFollower(self._settings, topic, take, from_beginning=from_beginning)


def _numbers(partitions: list[TopicPartition]) -> frozenset[int]:
    return frozenset(each.partition for each in partitions)
