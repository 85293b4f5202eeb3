"""Requests on their way to the broker and back: slow at times, and never torn from a pause or a kill.

A request leaves only while its process runs (what a paused process meant to send leaves after the pause: a
zombie's), arrives whatever has become of the process since, and is answered only to a process that lives.
"""

from collections.abc import Callable
from typing import Any

from tests.simulator.broker import Broker, Log
from tests.simulator.scheduler import Future, Process, Scheduler
from topics.kafka.codec import Headers


class BrokerError(Exception):
    """What the broker answers instead."""


class Network:
    """Between processes and the broker."""

    def __init__(self, scheduler: Scheduler, broker: Broker) -> None:
        self._scheduler, self._broker = scheduler, broker
        self._last: dict[object, tuple[float, float]] = {}

    def delay_s(self) -> float:
        """Mostly a millisecond, at times a second: what is late must still be earlier than a timeout."""
        chance = self._scheduler.random.random()
        if chance < 0.9:
            return 0.0005 + chance * 0.002
        return (chance - 0.9) * 3 if chance < 0.98 else (chance - 0.98) * 75

    def call(self, process: Process, request: Callable[[], Any], channel: object = None) -> Future:
        """Have the broker do `request`; requests of one channel keep their order."""
        scheduler, answer = self._scheduler, Future(self._scheduler)
        if not process.alive:  # what a coroutine does while it is thrown away
            return answer

        def leave(_: int) -> None:
            if process.cut_off_until_s > scheduler.now_s:
                scheduler.at(process.cut_off_until_s, process, leave)
                return
            scheduler.at(self._in_turn(channel, 1), None, arrive)

        def arrive(_: int) -> None:
            if self._broker.away_until_s > scheduler.now_s:
                scheduler.at(self._broker.away_until_s, None, arrive)
                return
            error = value = None
            try:
                value = request()
            except BrokerError as refused:
                error = refused
            back_s = max(scheduler.now_s + self.delay_s(), process.cut_off_until_s)
            scheduler.at(back_s, process, lambda _: answer.set(value, error))

        scheduler.at(self._in_turn(channel, 0), process, leave)
        return answer

    def reaches(self, process: Process) -> bool:
        """Whether process and broker hear each other."""
        return max(process.cut_off_until_s, self._broker.away_until_s) <= self._scheduler.now_s

    def _in_turn(self, channel: object, leg: int) -> float:
        time_s = self._scheduler.now_s + self.delay_s()
        if channel is None:
            return time_s
        last = self._last.get(channel, (0.0, 0.0))
        time_s = max(time_s, last[leg])
        self._last[channel] = (time_s, last[1]) if leg == 0 else (last[0], time_s)
        return time_s

    def produce(
        self,
        process: Process,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> Future:
        """Append a record, however long it takes; the future has it as it stands on the log."""
        broker, scheduler = self._broker, self._scheduler
        log: Log = broker.log_of(topic, key, partition)
        return self.call(
            process,
            lambda: broker.append(log, key, value, headers, scheduler.now_s),
            channel=(process.name, log),
        )
