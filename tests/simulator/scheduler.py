"""Virtual time: processes, their tasks, and a heap of what happens next.

A task is a generator. It yields seconds to sleep, or a `Future` to wait for (whose value it is then sent, or
whose error is raised in it). Between two yields nothing else happens.
"""

import heapq
from collections.abc import Callable, Generator, Iterable
from random import Random
from typing import Any

Wait = Generator["float | Future", Any, Any]
"""What a task's function returns; also of functions that tasks `yield from`."""


class Cancelled(Exception):  # noqa: N818 - not an error: asyncio's CancelledError
    """Raised in a task at the point where it waits."""


class Future:
    """Something that will be known."""

    __slots__ = ("_calls", "_scheduler", "_waiters", "done", "error", "value")

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._waiters: list[tuple[Task, int]] = []
        self._calls: list[Callable[[], None]] = []
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def set(self, value: Any = None, error: BaseException | None = None) -> None:
        """Make it known; only the first time counts."""
        if self.done:
            return
        self.done, self.value, self.error = True, value, error
        for task, turn in self._waiters:
            self._scheduler.wake(task, turn, 0.0)
        self._waiters.clear()
        calls, self._calls = self._calls, []
        for call in calls:
            call()

    def when_done(self, call: Callable[[], None]) -> None:
        """Call once it is known, at once if it is."""
        if self.done:
            call()
        else:
            self._calls.append(call)

    def wait(self, task: "Task", turn: int) -> None:
        """Wake `task` once it is known."""
        if self.done:
            self._scheduler.wake(task, turn, 0.0)
        else:
            self._waiters.append((task, turn))


def all_of(futures: Iterable[Future]) -> Wait:
    """Wait for each."""
    for future in futures:  # noqa: UP028 - an iterator would be sent their values
        yield future


class Process:
    """An operating system's process: what is killed, or paused, as a whole."""

    __slots__ = (
        "alive",
        "cut_off_until_s",
        "ended_s",
        "leases",
        "name",
        "on_end",
        "paused_until_s",
        "pauses",
        "restart_after_s",
        "role",
        "started_s",
        "stop",
    )

    def __init__(self, scheduler: "Scheduler", role: str, name: str) -> None:
        self.role, self.name = role, name
        self.alive = True
        self.started_s = scheduler.now_s
        self.ended_s: float | None = None
        self.paused_until_s = 0.0
        self.cut_off_until_s = 0.0
        """Until then nothing comes to it from the broker, and nothing goes there."""
        self.pauses: list[tuple[float, float]] = []
        self.restart_after_s: float | None = None
        """None: as soon as a supervisor does it."""
        self.stop = Future(scheduler)
        """SIGTERM."""
        self.leases: dict[tuple[str, int], float] = {}
        """What it holds, and since when."""
        self.on_end: Callable[[], None] = lambda: None

    def disturbed(self, start_s: float, end_s: float) -> bool:
        """Whether it did not simply live from `start_s` to `end_s`."""
        lived = self.started_s <= start_s and (self.ended_s is None or self.ended_s >= end_s)
        return not lived or any(begin < end_s and end > start_s for begin, end in self.pauses)


class Task:
    """A generator that is being run."""

    __slots__ = ("_cancelled", "_generator", "_turn", "_waiting_for", "done", "process", "scheduler")

    def __init__(self, scheduler: "Scheduler", process: Process, generator: Wait) -> None:
        self.scheduler, self.process, self._generator = scheduler, process, generator
        self.done = Future(scheduler)
        self._turn = 0
        self._cancelled = False
        self._waiting_for: Future | None = None

    def cancel(self) -> None:
        """Raise `Cancelled` where it waits."""
        if not self.done.done and not self._cancelled:
            self._cancelled = True
            self.scheduler.wake(self, self._turn, 0.0)

    def step(self, turn: int) -> None:
        """Run to the next yield; a wake-up for an earlier yield is none."""
        if turn != self._turn or self.done.done:
            return
        self._turn = turn = turn + 1
        awaited, self._waiting_for = self._waiting_for, None
        try:
            if self._cancelled and turn > 1:  # what has not begun begins first, as on an event loop
                self._cancelled = False
                wait = self._generator.throw(Cancelled())
            elif awaited is None:
                wait = next(self._generator)
            elif awaited.error is not None:
                wait = self._generator.throw(awaited.error)
            else:
                wait = self._generator.send(awaited.value)
        except (StopIteration, Cancelled):
            self.done.set()
            return
        if self._cancelled:
            self.scheduler.wake(self, turn, 0.0)
        elif isinstance(wait, Future):
            self._waiting_for = wait
            wait.wait(self, turn)
        else:
            self.scheduler.wake(self, turn, wait)


class Scheduler:
    """What happens next, and when."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now_s = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Process | None, Callable[[int], None], int]] = []
        self._number = 0

    def spawn(self, process: Process, generator: Wait) -> Task:
        """Run a generator as a task of `process`."""
        task = Task(self, process, generator)
        self.wake(task, 0, 0.0)
        return task

    def wake(self, task: Task, turn: int, delay_s: float) -> None:
        """Go on with a task, after a little while longer than `delay_s`."""
        # No two things happen at once, and those that are due at once come in any order.
        self.at(self.now_s + delay_s + self.random.random() * 0.001, task.process, task.step, turn)

    def at(
        self, time_s: float, process: Process | None, call: Callable[[int], None], argument: int = 0
    ) -> None:
        """Call at a time; never if `process` is dead by then, later if it is paused."""
        self._number += 1
        heapq.heappush(self._heap, (time_s, self._number, process, call, argument))

    def step(self) -> Process | None:
        """The next thing; returns whose it was."""
        while True:
            time_s, _, process, call, argument = heapq.heappop(self._heap)
            self.now_s = max(self.now_s, time_s)
            if process is not None:
                if not process.alive:
                    continue
                if process.paused_until_s > self.now_s:
                    self.at(process.paused_until_s, process, call, argument)
                    continue
            self.steps += 1
            call(argument)
            return process

    def end(self, process: Process) -> None:
        """It exits, or is killed: nothing of it happens any more."""
        if process.alive:
            process.alive = False
            process.ended_s = self.now_s
            process.on_end()

    def pause(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after `seconds`."""
        process.paused_until_s = self.now_s + seconds
        process.pauses.append((self.now_s, process.paused_until_s))

    def cut_off(self, process: Process, seconds: float) -> None:
        """It lives, but the network to it does not."""
        process.cut_off_until_s = self.now_s + seconds
        process.pauses.append((self.now_s, process.cut_off_until_s))
