"""A scheduler, a broker and processes with loops, without any of the system's roles."""

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from tests.simulator.broker import Broker
from tests.simulator.network import Network
from tests.simulator.scheduler import Future, Process, Scheduler
from tests.simulator.virtual.loop import VirtualLoop

T = TypeVar("T")

_STEPS = 100_000


class Machine:
    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler(Random(seed))
        self.broker = Broker()
        self.network = Network(self.scheduler, self.broker)
        self._number = 0

    def loop(self) -> VirtualLoop:
        """The loop of a new process."""
        self._number += 1
        return VirtualLoop.of(self.scheduler, Process(self.scheduler, "role", f"process-{self._number}"))

    def run(self, loop: VirtualLoop, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it returns, or raises, in the end."""
        task = loop.create_task(coroutine)
        self.until(task.done)
        result: T = task.result()
        return result

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(_STEPS):
            if condition():
                return
            self.scheduler.step()
        raise AssertionError("it does not come true")

    def advance(self, seconds: float) -> None:
        reached = Future(self.scheduler)
        self.scheduler.at(self.scheduler.now_s + seconds, None, lambda _: reached.set())
        self.until(lambda: reached.done)
