"""Supervision of one stage: a process tree, from its start until no process of the program is left."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from processors.sandbox.attribution import Bounds, Report, next_check_s, parse_report, time_exceeded
from processors.sandbox.cgroups import Group
from processors.sandbox.descriptors import release_unreachable
from processors.sandbox.launcher import ChildProcess, Launched
from processors.sandbox.model import STREAMS, OnOutput, SandboxError
from processors.sandbox.pipe_reader import PipeReader
from processors.sandbox.uncounted import Uncounted

SETUP_S = 120.0
"""Deadline for the setup of a sandbox, which usually takes milliseconds."""
KILL_AGAIN_S = 0.01
"""Time between two attempts to kill the processes of a stage."""
KILL_LAUNCHER_S = 1.0
"""Time after which the launcher is killed as well, if killing the program's processes has not ended the
stage."""
WATCH_S = 0.1
"""Longest time between two checks of a stage, and shortest between two checks for uncounted memory.
docs/sandbox.md gives the amount that a program can use meanwhile."""
WATCH_SHARE = 5
"""Shortest time between two checks for uncounted memory, as a multiple of the duration of a check."""
GIVE_UP_S = 600.0
"""Time after SIGKILL after which remaining processes count as stuck in the kernel.

A program may have hundreds of processes with tens of thousands of mappings each. On a busy machine they take
a minute to end. The program causes that, so the wait is part of its stage.
"""
OUTPUT_GRACE_S = 5.0
"""Deadline for the pipes to close after all processes have ended.

They close at once, unless another thread is starting a process, which inherits them for a moment.
"""
HOST_CPUS = os.cpu_count() or 1
"""Number of processors; it bounds how soon a program uses up its CPU time. The kernel takes 0.1 ms for it."""
STUCK = "processes cannot be killed"
REPORT_BYTES = 16384
"""Bytes of the launcher's report that are kept: far more than one has."""


T = TypeVar("T")


async def shielded(work: Coroutine[Any, Any, T], on_cancel: Callable[[], None] = lambda: None) -> T:
    """Await `work` to its end even if this task is cancelled; the cancellation takes effect afterwards.

    Unlike with `asyncio.shield`, no work is left in the background. `on_cancel` is called at each
    cancellation.

    Raises:
        CancelledError: this task was cancelled; an exception of `work` is then dropped.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
            on_cancel()
    if cancelled:
        with suppress(Exception):
            task.result()
        raise asyncio.CancelledError
    return task.result()


class Teardown:
    """End of a launcher, which takes down a sandbox in which no process of a program is left."""

    def __init__(self, launcher: ChildProcess, pidfd: int) -> None:
        """`pidfd` refers to the launcher, and is closed when it has ended."""
        self._launcher, self._pidfd = launcher, pidfd

    def has_ended(self) -> bool:
        """Return whether the launcher has ended, and reap it if so."""
        return self._launcher.has_ended()

    async def wait(self) -> None:
        """Wait until the launcher has ended, and reap it.

        It ends by itself.

        Raises:
            SandboxError: the kernel does not take the sandbox down.
        """
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            await asyncio.wait_for(ended.wait(), GIVE_UP_S)
        except TimeoutError:
            raise SandboxError(STUCK) from None
        finally:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._launcher.wait()


class StageRun:
    """Run of one stage: its launcher, the control group of its program, and their pipes."""

    def __init__(
        self,
        launched: Launched,
        group: Group,
        bounds: Bounds,
        on_output: OnOutput | None = None,
        may_run: asyncio.Event | None = None,
        uncounted: Uncounted | None = None,
    ) -> None:
        """Watch a launcher that was started.

        Args:
            launched: the launcher; it is killed if it cannot be watched.
            group: control group that the program joins.
            bounds: limits that this process enforces or attributes; the control group enforces memory.
            on_output: callback for output.
            may_run: set once the program may run; the time before does not count.
            uncounted: meter of memory that the group does not count; None for a trusted program.

        Raises:
            SandboxError: the stage cannot be watched.
        """
        try:
            self._oom_event = group.open_oom_event()
            try:
                self._pidfd = os.pidfd_open(launched.process.pid)
            except OSError:
                if self._oom_event is not None:
                    os.close(self._oom_event)
                raise
        except OSError as error:
            launched.abandon()
            raise SandboxError(f"a stage cannot be watched: {error}") from error
        self.stopped = False
        self.stopped_for: str | None = None
        """Limit for which the stage was killed."""
        self.uncounted_bytes = 0
        """Kernel memory, uncounted by the control group, for which the stage was killed."""
        self.wall_time_s = 0.0
        """Time from the start of the program to the end of its last process, as this process saw them."""
        self._watched_cpu_s = 0.0
        self.teardown: Teardown | None = None
        """End of the launcher, if it had not ended when the stage had."""
        self._loop = asyncio.get_running_loop()
        self._launcher, self._channel = launched.process, launched.channel
        self._group = group
        self._bounds = bounds
        self._may_run = may_run
        self._uncounted = uncounted
        callbacks = [partial(on_output, stream) if on_output else None for stream in STREAMS]
        self.stdout = PipeReader(launched.stdout, bounds.stdout_bytes, self._changed, callbacks[0])
        self.stderr = PipeReader(launched.stderr, bounds.stderr_bytes, self._changed, callbacks[1])
        self._report = PipeReader(launched.report, REPORT_BYTES, self._changed)
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._born = self._loop.time()
        self._started: float | None = None
        self._watch_at = 0.0
        self._stopped_at = 0.0
        self._emptied: float | None = None
        """Time at which no process of the program was left."""
        self._loop.add_reader(self._pidfd, self._exit)
        self._out_of_memory = False
        if self._oom_event is not None:
            self._loop.add_reader(self._oom_event, self._notice_oom)
        self._timer = self._loop.call_later(SETUP_S, self._check)

    async def end(self) -> Report:
        """Wait until all processes of the program have ended, and return the launcher's report.

        A limit that is hit, or a cancellation, kills the processes.

        Raises:
            SandboxError: the processes cannot be killed, or the stage cannot be watched.
        """
        try:
            await shielded(self._gone(), on_cancel=lambda: self.stop(None))
        finally:
            self._close()
        return parse_report(bytes(self._report.kept))

    @property
    def exit_status(self) -> int | None:
        """Wait status of the launcher itself, as of waitpid."""
        return self._launcher.wait_status

    @property
    def cpu_time_s(self) -> float:
        """CPU time of the program, and of this thread for the program's output and uncounted memory."""
        by_worker_s = self._watched_cpu_s + self.stdout.cpu_time_s + self.stderr.cpu_time_s
        return self._group.cpu_time_s() + by_worker_s

    @property
    def printed_too_much(self) -> str | None:
        """Limit of output that was exceeded: `stdout_bytes`, `stderr_bytes` or None."""
        if self.stdout.overflowed:
            return "stdout_bytes"
        return "stderr_bytes" if self.stderr.overflowed else None

    def stop(self, limit: str | None) -> None:
        """Kill all processes, because of a limit, or with None for another reason such as a cancellation."""
        if self.stopped or self._emptied is not None:
            return
        self.stopped = True
        self.stopped_for = limit
        self._stopped_at = self._loop.time()
        self._check_in(0)

    async def _gone(self) -> None:
        await self._done
        deadline = self._loop.time() + GIVE_UP_S
        while self._group.pids():
            if self._loop.time() > deadline:
                raise SandboxError(STUCK)
            self._group.kill()
            await asyncio.sleep(KILL_AGAIN_S)

    def _changed(self) -> None:
        """Update the state of the stage after data or the end of a pipe."""
        if self._started is None and b"started " in self._report.kept:
            self._started = self._loop.time()
            # The stage may have been stopped before it started; otherwise there is nothing to check yet.
            self._watch_at = self._started + WATCH_S
            self._check_in(0 if self.stopped else self._next_check_s(0, 0))
        if (limit := self.printed_too_much) is not None:
            self.stop(limit)
        reports_empty = b"\nempty\n" in self._report.kept
        if reports_empty and self._emptied is None:
            self._empty()
        has_reported = reports_empty or self._report.ended
        pipes_ended = self.stdout.ended and self.stderr.ended and has_reported
        if self._emptied is not None and pipes_ended and not self._done.done():
            self._done.set_result(None)

    def _exit(self) -> None:
        """Reap the launcher, which has ended."""
        self._loop.remove_reader(self._pidfd)
        self._launcher.wait()
        if self._emptied is None:
            self._empty()
        self._changed()

    def _empty(self) -> None:
        """Read the rest of the pipes: no process of the program is left."""
        self._emptied = self._loop.time()
        self.wall_time_s = 0.0 if self._started is None else self._emptied - self._started
        for collector in (self.stdout, self.stderr, self._report):
            collector.hurry()
        self._check_in(KILL_AGAIN_S)

    def _notice_oom(self) -> None:
        assert self._oom_event is not None
        with suppress(BlockingIOError):
            os.eventfd_read(self._oom_event)
        self._out_of_memory = True
        self._check()

    def _check(self) -> None:
        """Check the stage now, and schedule the next check."""
        if self._done.done():
            return
        try:
            delay_s = self._act(self._loop.time())
        except Exception as error:  # any other would leave the stage without limits
            self._launcher.kill()
            self._done.set_exception(SandboxError(f"a stage cannot be watched: {error}"))
        else:
            self._check_in(delay_s)

    def _check_in(self, delay_s: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._check)

    def _act(self, now: float) -> float:
        if self._emptied is not None:
            return self._after_end(now - self._emptied)
        if self.stopped:
            return self._after_stop(now - self._stopped_at)
        if self._started is None:
            return self._before_start(now)
        return self._while_running(now - self._started)

    def _after_end(self, since_s: float) -> float:
        if since_s > OUTPUT_GRACE_S:
            self._done.set_result(None)
        self._group.kill()  # no process may outlive the stage
        release_unreachable()  # such sockets may hold the pipes
        return KILL_AGAIN_S

    def _after_stop(self, since_s: float) -> float:
        if since_s > GIVE_UP_S:
            raise SandboxError(STUCK)
        self._group.kill()  # the launcher then reports the end of the program
        if since_s > KILL_LAUNCHER_S:
            self._launcher.kill()  # it is pid 1 of the sandbox, and all other processes end with it
        return KILL_AGAIN_S

    def _before_start(self, now: float) -> float:
        if self._may_run is not None and not self._may_run.is_set():
            self._born = now
        since_s = now - self._born
        if since_s > SETUP_S:
            self.stop(None)
        return max(SETUP_S - since_s, 0)

    def _while_running(self, wall_time_s: float) -> float:
        cpu_time_s = self.cpu_time_s
        limit = time_exceeded(self._bounds, wall_time_s, cpu_time_s)
        if self._out_of_memory:  # the kernel sends the event shortly before it kills
            limit = "memory_bytes" if self._group.oom_kills() else limit
        if limit is None and self._exceeds_uncounted():
            limit = "memory_bytes"
        if limit is not None:
            self.stop(limit)
            return 0
        if self._out_of_memory:
            return KILL_AGAIN_S
        return self._next_check_s(wall_time_s, cpu_time_s)

    def _next_check_s(self, wall_time_s: float, cpu_time_s: float) -> float:
        return min(WATCH_S, next_check_s(self._bounds, wall_time_s, cpu_time_s, HOST_CPUS))

    def _exceeds_uncounted(self) -> bool:
        """Return whether uncounted memory exceeds its limits; check at most every `WATCH_S`."""
        now = self._loop.time()
        if self._uncounted is None or now < self._watch_at:
            return False
        before_s = time.thread_time()
        self.uncounted_bytes = self._uncounted.too_much_bytes(self._group.pids(), self._on_locks)
        self._watched_cpu_s += time.thread_time() - before_s
        spent_s = self._loop.time() - now  # long tables of sockets are read less often
        self._watch_at = now + spent_s + max(WATCH_S, WATCH_SHARE * spent_s)
        return self.uncounted_bytes > 0

    def _on_locks(self) -> None:
        self._loop.call_soon_threadsafe(self._check_again)

    def _check_again(self) -> None:
        self._watch_at = 0.0
        self._check()

    def _close(self) -> None:
        self._timer.cancel()
        for collector in (self.stdout, self.stderr, self._report):
            collector.close()
        self._channel.close()
        if self._oom_event is not None:
            self._loop.remove_reader(self._oom_event)
            os.close(self._oom_event)
        self._loop.remove_reader(self._pidfd)
        if self._launcher.wait_status is None:
            self.teardown = Teardown(self._launcher, self._pidfd)
        else:
            os.close(self._pidfd)
        if self._uncounted is not None:
            self._uncounted.close()
