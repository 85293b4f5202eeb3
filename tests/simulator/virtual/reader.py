"""`Reader` of the ports: reads committed records of partitions, without a group."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType

from confluent_kafka import KafkaError, KafkaException, Message
from typing_extensions import override

from tests.simulator.broker import Log
from tests.simulator.network import Network
from tests.simulator.virtual.errors import answered
from tests.simulator.virtual.loop import VirtualLoop
from topics.kafka import ports

_LONGEST_WAIT_S = 0.2


class VirtualReader(ports.Reader):
    """A client of the process that `loop` belongs to."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        logs: list[Log],
        others: Mapping[str, list[Log]] = MappingProxyType({}),
    ) -> None:
        """Read `logs`; the ends of `others`, by their topics, can be asked for."""
        self._loop, self._network, self._logs, self._others = loop, network, logs, others
        self._positions: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        """Where the end of a partition was reported last."""

    @override
    async def end_offsets(self, partitions: Collection[int], topic: str | None = None) -> Mapping[int, int]:
        logs = self._others[topic] if topic else self._logs
        asked = self._network.call(
            self._loop.process, lambda: {p: logs[p].end_offset(self._loop.time()) for p in partitions}
        )
        ends: dict[int, int] = await answered(self._loop, asked)
        if -1 in ends.values():
            raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        return ends

    @override
    async def reconnect(self) -> None:
        await asyncio.sleep(self._loop.scheduler.random.random() * _LONGEST_WAIT_S)

    @override
    def assign(self, offsets: Mapping[int, int]) -> None:
        self._positions, self._ends = dict(offsets), {}

    @override
    async def poll(self, max_records: int, timeout_s: float) -> list[Message]:
        deadline_s = self._loop.time() + timeout_s
        while True:
            messages: list[Message] = []
            left_s = deadline_s - self._loop.time()
            with suppress(KafkaException):  # no answer in time: what it has is fetched again
                positions = dict(self._positions)
                fetch = partial(self._read, positions, max_records)
                fetched = self._network.call(self._loop.process, fetch)
                messages = self._taken(positions, await answered(self._loop, fetched, left_s))
            if messages or self._loop.time() >= deadline_s:
                return messages
            await asyncio.sleep(self._loop.scheduler.random.random() * _LONGEST_WAIT_S)

    def _read(self, positions: Mapping[int, int], limit: int) -> dict[int, tuple[list[Message], int, bool]]:
        found = {}
        for number, position in positions.items():
            read = self._logs[number].read(position, limit)
            limit -= len(read.messages)
            found[number] = (read.messages, read.position, read.position >= self._logs[number].stable_end)
        return found

    def _taken(
        self, asked: Mapping[int, int], found: Mapping[int, tuple[list[Message], int, bool]]
    ) -> list[Message]:
        """Move on; the end of a partition is reported once, as an error among the records."""
        taken: list[Message] = []
        for number, (messages, position, is_end) in found.items():
            if self._positions.get(number) != asked[number]:  # assigned anew meanwhile
                continue
            self._positions[number] = position
            taken += messages
            if is_end and self._ends.get(number) != position:
                self._ends[number] = position
                taken.append(_end_of(self._logs[number], position))
        return taken

    @override
    async def close(self) -> None:
        self._positions = {}


def _end_of(log: Log, position: int) -> Message:
    return Message(log.topic, log.number, position, error=KafkaError(KafkaError._PARTITION_EOF))
