"""`Follower` of the ports: reads what is there, and waits for more."""

import asyncio
from collections.abc import Callable

from confluent_kafka import Message
from typing_extensions import override

from tests.simulator.broker import Log
from tests.simulator.network import Network
from tests.simulator.scheduler import Future
from tests.simulator.virtual.loop import VirtualLoop
from topics.kafka import ports

_RECORDS = 1000
_LONGEST_WAIT_S = 1.0


class VirtualFollower(ports.Follower):
    """A client of the process that `loop` belongs to."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        logs: list[Log],
        take: Callable[[list[Message]], None],
        *,
        from_beginning: bool = True,
    ) -> None:
        self._loop, self._network, self._logs, self._take = loop, network, logs, take
        self._positions = [0 if from_beginning else log.end for log in logs]
        self._caught_up = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @override
    async def start(self) -> None:
        self._reading = self._loop.create_task(self._read())

    @override
    async def wait_caught_up(self) -> None:
        await self._caught_up.wait()

    @override
    async def close(self) -> object:
        if self._reading:
            self._reading.cancel()
        return True

    async def _read(self) -> None:
        while True:
            if self._network.reaches(self._loop.process):
                self._read_once()
                self._caught_up.set()
            news = Future(self._loop.scheduler)
            for log in self._logs:
                log.listeners.append(news)
            wait_s = self._loop.scheduler.random.random() * _LONGEST_WAIT_S
            timer = self._loop.call_later(wait_s, news.set)
            await self._loop.answer(news)
            timer.cancel()

    def _read_once(self) -> None:
        for number, log in enumerate(self._logs):
            read = log.read(self._positions[number], _RECORDS)
            self._positions[number] = read.position
            if read.messages:
                self._take(read.messages)
