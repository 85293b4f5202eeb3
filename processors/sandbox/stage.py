"""Watches one process tree from its start until nothing of it is left."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from processors.sandbox.cgroups import Group
from processors.sandbox.launcher import Launched
from processors.sandbox.model import SandboxError
from processors.sandbox.verdict import Bounds, Report, next_look_s, parse_report, time_exceeded

SETUP_S = 30.0
"""A sandbox that takes longer to build has failed; usually it takes milliseconds."""
KILL_AGAIN_S = 0.01
KILL_LAUNCHER_S = 1.0
"""If killing the program's processes has not ended the stage by then, its sandbox is torn down."""
GIVE_UP_S = 20.0
"""Processes that outlive SIGKILL for so long hang in the kernel."""
OUTPUT_GRACE_S = 5.0
"""Once all processes are gone their pipes close, unless another thread is just starting a process."""
REPORT_BYTES = 16384
CHUNK_BYTES = 65536

T = TypeVar("T")


async def see_through(work: Coroutine[Any, Any, T], on_cancel: Callable[[], None] = lambda: None) -> T:
    """Await `work` to its end even if cancelled meanwhile; the cancellation takes effect then."""
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


class _Collector:
    """Reads a pipe to its end and keeps the first bytes."""

    def __init__(self, descriptor: int, limit_bytes: int, changed: Callable[[], None]) -> None:
        self.kept = bytearray()
        self.overflowed = False
        self.ended = False
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        self._changed = changed
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        room = self._limit_bytes - len(self.kept)
        self.kept += chunk[:room]
        self.overflowed = self.overflowed or len(chunk) > room
        if not chunk:
            self.close()
        self._changed()

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)


class Stage:
    """A launcher that was started, the group that its program is in, and the pipes they write to."""

    def __init__(
        self,
        launched: Launched,
        group: Group,
        bounds: Bounds,
    ) -> None:
        self.stopped = False
        self.stopped_for: str | None = None
        """The limit that the stage was ended for."""
        self.wall_time_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._launcher = launched.process
        self._group = group
        self._bounds = bounds
        self.stdout = _Collector(launched.stdout, bounds.stdout_bytes, self._changed)
        self.stderr = _Collector(launched.stderr, bounds.stderr_bytes, self._changed)
        self._report = _Collector(launched.report, REPORT_BYTES, self._changed)
        self._host_cpus = os.cpu_count() or 1
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._born = self._loop.time()
        self._started: float | None = None
        self._stopped_at = 0.0
        self._exited: float | None = None
        self._pidfd = os.pidfd_open(self._launcher.pid)
        self._loop.add_reader(self._pidfd, self._exit)
        self._oom_event = group.open_oom_event()
        self._out_of_memory = False
        if self._oom_event is not None:
            self._loop.add_reader(self._oom_event, self._notice_oom)
        self._timer = self._loop.call_later(SETUP_S, self._look)

    async def end(self) -> Report:
        """Wait until all processes are gone, killing them if a limit is hit.

        Raises SandboxError if they cannot be killed. Cancelling kills them, too.
        """
        try:
            await see_through(self._gone(), on_cancel=lambda: self.stop(None))
        finally:
            self._close()
        return parse_report(bytes(self._report.kept))

    @property
    def exit_status(self) -> int:
        """The launcher's own wait status."""
        code = self._launcher.returncode
        return -code if code < 0 else code << 8

    @property
    def printed_too_much(self) -> str | None:
        """The limit of output that was hit."""
        if self.stdout.overflowed:
            return "stdout_bytes"
        return "stderr_bytes" if self.stderr.overflowed else None

    def stop(self, limit: str | None) -> None:
        """Kill everything, because of a limit or because nobody wants it any more."""
        if self.stopped or self._exited is not None:
            return
        self.stopped = True
        self.stopped_for = limit
        self._stopped_at = self._loop.time()
        self._kill()
        self._look_in(KILL_AGAIN_S)

    def _kill(self) -> None:
        with suppress(FileNotFoundError):
            self._group.kill()
        if self._started is None or self._loop.time() - self._stopped_at > KILL_LAUNCHER_S:
            self._launcher.kill()  # pid 1 dies with it, and everything with pid 1

    async def _gone(self) -> None:
        await self._done
        deadline = self._loop.time() + GIVE_UP_S
        while self._group.pids():
            if self._loop.time() > deadline:
                raise SandboxError("processes of a stage cannot be killed")
            self._group.kill()
            await asyncio.sleep(KILL_AGAIN_S)

    def _changed(self) -> None:
        """React to what a pipe brought."""
        if self._started is None and b"started " in self._report.kept:
            self._started = self._loop.time()
            self._look()
        if (limit := self.printed_too_much) is not None:
            self.stop(limit)
        pipes_ended = self.stdout.ended and self.stderr.ended and self._report.ended
        if self._exited is not None and pipes_ended and not self._done.done():
            self._done.set_result(None)

    def _exit(self) -> None:
        """Reap the launcher; what still writes to the pipes is not supposed to be there."""
        self._loop.remove_reader(self._pidfd)
        self._launcher.wait()
        self._exited = self._loop.time()
        self.wall_time_s = 0.0 if self._started is None else self._exited - self._started
        with suppress(FileNotFoundError):
            if self._group.pids():
                self._group.kill()
        self._look_in(KILL_AGAIN_S)
        self._changed()

    def _notice_oom(self) -> None:
        assert self._oom_event is not None
        with suppress(BlockingIOError):
            os.eventfd_read(self._oom_event)
        self._out_of_memory = True
        self._look()

    def _look(self) -> None:
        """Look whether something is to be done now, and decide when to look next."""
        now = self._loop.time()
        if self._done.done():
            return
        if self._exited is not None:
            self._look_after_exit(now)
        elif self.stopped:
            self._look_after_stop(now)
        elif self._started is None:
            self._look_at_setup(now)
        else:
            self._look_at_usage(now - self._started)

    def _look_after_exit(self, now: float) -> None:
        assert self._exited is not None
        if now - self._exited > OUTPUT_GRACE_S:
            self._done.set_result(None)
            return
        self._group.kill()
        self._look_in(KILL_AGAIN_S)

    def _look_after_stop(self, now: float) -> None:
        if now - self._stopped_at > GIVE_UP_S:
            self._done.set_exception(SandboxError("the processes of a stage cannot be killed"))
            return
        self._kill()
        self._look_in(KILL_AGAIN_S)

    def _look_at_setup(self, now: float) -> None:
        if now - self._born > SETUP_S:
            self.stop(None)
        else:
            self._look_in(self._born + SETUP_S - now)

    def _look_at_usage(self, wall_time_s: float) -> None:
        cpu_time_s = self._group.cpu_time_s()
        if self._out_of_memory and self._group.oom_kills():
            self.stop("memory_bytes")
        elif (limit := time_exceeded(self._bounds, wall_time_s, cpu_time_s)) is not None:
            self.stop(limit)
        elif self._out_of_memory:
            self._look_in(KILL_AGAIN_S)  # the kernel tells a moment before it kills
        else:
            self._look_in(next_look_s(self._bounds, wall_time_s, cpu_time_s, self._host_cpus))

    def _look_in(self, delay_s: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._look)

    def _close(self) -> None:
        self._timer.cancel()
        for collector in (self.stdout, self.stderr, self._report):
            collector.close()
        for descriptor in (self._pidfd, self._oom_event):
            if descriptor is not None:
                self._loop.remove_reader(descriptor)
                os.close(descriptor)
