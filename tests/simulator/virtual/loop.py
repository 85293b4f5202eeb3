"""An asyncio event loop of one simulated process: its handles are entries of the scheduler.

A killed process runs no handle any more, a paused one runs them later. What is ready at one time runs in the
order of the calls; turns of several processes interleave by the seed.
"""

import asyncio
from asyncio import Handle, TimerHandle, events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context
from typing import Any, Self, TypeVar, TypeVarTuple

from typing_extensions import override

from tests.simulator.scheduler import Future, Process, Scheduler

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_LONGEST_TURN_S = 0.0005


class VirtualFuture(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address, so that a seed decides everything."""

    def __init__(self, number: int, loop: "VirtualLoop") -> None:
        self._number = number
        super().__init__(loop=loop)

    __eq__ = object.__eq__

    @override
    def __hash__(self) -> int:
        return self._number


class VirtualTask(asyncio.Task[T]):
    """A task with such a place."""

    def __init__(
        self,
        number: int,
        coroutine: Coroutine[Any, Any, T],
        loop: "VirtualLoop",
        name: str | None,
        context: Context | None,
    ) -> None:
        self._number = number
        super().__init__(coroutine, loop=loop, name=name, context=context)
        self._log_destroy_pending = False  # the process may have been killed

    __eq__ = object.__eq__

    @override
    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop of `process`; it has no files, sockets, threads or signals."""

    def __init__(self, scheduler: Scheduler, process: Process) -> None:
        self.scheduler, self.process = scheduler, process
        self._ready: deque[Handle] = deque()
        self._number = 0
        self._tasks: set[VirtualTask[Any]] = set()
        self._failure: BaseException | None = None

    @classmethod
    def of(cls, scheduler: Scheduler, process: Process) -> Self:
        """Make one; asyncio calls no other of the methods that the base declares as abstract."""
        return cls(scheduler, process)

    # -- what asyncio calls ---------------------------------------------------------------------------

    @override
    def time(self) -> float:
        return self.scheduler.now_s

    @override
    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        if not self.process.alive:  # a coroutine that is thrown away
            return handle
        if not self._ready:
            # No two processes do something at once, and those that are ready at once run in any order.
            delay_s = self.scheduler.random.random() * _LONGEST_TURN_S
            self.scheduler.at(self.scheduler.now_s + delay_s, self.process, self._turn)
        self._ready.append(handle)
        return handle

    @override
    def call_soon_threadsafe(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> Handle:
        return self.call_soon(callback, *args, context=context)

    @override
    def call_later(
        self,
        delay: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        if self.process.alive:
            self.scheduler.at(max(when, self.time()), self.process, lambda _: self._due(handle))
        return handle

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        pass  # it stays with the scheduler, and does nothing

    @override
    def create_future(self) -> VirtualFuture:
        self._number += 1
        return VirtualFuture(self._number, self)

    @override
    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> VirtualTask[Any]:
        self._number += 1
        task = VirtualTask(self._number, coro, self, name, context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @override
    def get_debug(self) -> bool:
        return False

    @override
    def is_running(self) -> bool:
        return self.process.alive

    @override
    def is_closed(self) -> bool:
        return not self.process.alive

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], T], *args: *Arguments
    ) -> "asyncio.Future[T]":
        raise NotImplementedError("a simulated process has no threads: what waits goes through a port")

    @override
    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.process.alive and "exception" in context:
            self._failure = context["exception"]

    # -- what the simulator calls ---------------------------------------------------------------------

    def answer(self, future: Future) -> VirtualFuture:
        """Return an awaitable with the value or the error of a future of the simulator."""
        answer = self.create_future()

        def settle() -> None:
            if answer.done():  # the waiting task was cancelled
                return
            if future.error is not None:
                answer.set_exception(future.error)
            else:
                answer.set_result(future.value)

        future.when_done(settle)
        return answer

    def reached(self, awaitable: "asyncio.Task[Any]") -> Future:
        """Return a future of the simulator with what becomes of a task."""
        reached = Future(self.scheduler)

        def settle(task: "asyncio.Task[Any]") -> None:
            cancelled = task.cancelled()
            error = asyncio.CancelledError() if cancelled else task.exception()
            reached.set(None if error else task.result(), error)

        awaitable.add_done_callback(settle)
        return reached

    def drop(self) -> None:
        """Release the coroutines of a process that has ended; their `finally` blocks have no effect.

        Without it they would run when the garbage collector comes, and complain.
        """
        assert not self.process.alive
        while self._tasks:
            coroutine = self._tasks.pop().get_coro()
            with suppress(BaseException):
                coroutine.close()
        self._ready.clear()

    def _due(self, handle: TimerHandle) -> None:
        if not handle.cancelled():
            self._run([handle])

    def _turn(self, _: int) -> None:
        ready, self._ready = self._ready, deque()
        self._run(ready)

    def _run(self, handles: "deque[Handle] | list[Handle]") -> None:
        events._set_running_loop(self)
        try:
            for handle in handles:
                if not self.process.alive:  # one of the others ended it
                    break
                if not handle.cancelled():
                    handle._run()
        finally:
            events._set_running_loop(None)
        if self._failure is not None and self.process.alive:
            failure, self._failure = self._failure, None
            raise failure
