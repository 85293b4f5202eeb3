"""Life cycle of a role's process: the first log line, the stop on a signal, and the deadline of that stop.

This module imports nothing heavy. A role can therefore log and handle signals before its own modules are
imported.
"""

import asyncio
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

log = logging.getLogger(__name__)

ROLES = (
    "ingest",
    "request-handler",
    "submission-store",
    "build-store",
    "worker",
    "cache-builder",
    "sealer",
    "webhook-sender",
    "health-checker",
)
"""Commands that run a role. Each is a function of `infra/commands/roles.py`, which is slow to import."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
DEADLINE_S = 8.0
"""Time from a signal to the forced end of the process. Operators may rely on 10 s, so this is less."""
_WITHOUT_PYTHON_S = 1.0
"""Time after the deadline until faulthandler ends the process. It needs no GIL, which a hanging client may
hold."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SOURCE = str(Path(__file__).resolve().parents[1])
_NAMED_AT_MOST = 8
"""Hanging functions that the last log line names, so that the line stays readable."""


class RoleProcess:
    """Signal handling and forced end of this process.

    A broker that does not answer can block any thread in a call without a timeout. The signal handler
    therefore only passes the signal to a thread. That thread asks the role to stop, and ends the process at
    the deadline.
    """

    def __init__(self, name: str) -> None:
        """Prepare a process without handling signals yet. Log lines begin with `name`: role and arguments."""
        self.name = name
        self.deadline_s = DEADLINE_S
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # its `put` is safe in a signal handler
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Start to handle signals, and log the role and its broker."""
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)
        servers = os.environ.get("ENVICUTOR_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
        log.info("%s: starting, with Kafka at %s", self.name, servers)

    def handle(self, number: int, _: FrameType | None = None) -> None:
        """Handle a signal. Libraries with signal handlers of their own, such as Faust, call this as well."""
        self._signals.put(number)

    def on_stop(self, stop: Callable[[], None], *, within_s: float = DEADLINE_S) -> None:
        """Register `stop`, which another thread calls on a signal. The process then has `within_s` to end.

        Before a `stop` is registered, a signal ends the process at once.
        """
        with self._lock:
            self._stop, self.deadline_s = stop, within_s

    def on_stop_in_loop(self, stop: Callable[[], None], *, within_s: float = DEADLINE_S) -> None:
        """Register a `stop` as `on_stop` does. It is called in the event loop that runs now."""
        loop = self._loop = asyncio.get_running_loop()
        self.on_stop(lambda: _call_soon(loop, stop), within_s=within_s)

    def end(self, exit_code: int) -> NoReturn:
        """End the process without waiting for threads and clients that may hang."""
        logging.shutdown()
        sys.stdout.flush()
        os._exit(exit_code)

    # -- the thread ----------------------------------------------------------------------------------

    def _watch(self) -> None:
        number = signal.Signals(self._signals.get())
        with self._lock:
            stop = self._stop
        if stop is None:
            log.info("%s: exiting on %s", self.name, number.name)
            self.end(0)
        log.info("%s: stopping on %s", self.name, number.name)
        faulthandler.dump_traceback_later(self.deadline_s + _WITHOUT_PYTHON_S, exit=True)
        stop()
        time.sleep(self.deadline_s)
        hangs = "; ".join([*_threads(), *_tasks(self._loop)][:_NAMED_AT_MOST])
        log.critical(
            "%s: still running %g s after %s, so the process exits now. It hangs in: %s",
            self.name,
            self.deadline_s,
            number.name,
            hangs or "unknown code",
        )
        self.end(os.EX_SOFTWARE)


_current: RoleProcess | None = None


def begin_if_role(argv: Sequence[str]) -> None:
    """Begin a role's process if the command line names a role, before the role's modules are imported."""
    if len(argv) > 1 and argv[1] in ROLES and "--help" not in argv:
        level = os.environ.get("ENVICUTOR_LOG_LEVEL", "INFO")
        logging.basicConfig(level=level if level in _LEVELS else "INFO", format=LOG_FORMAT)
        begin(" ".join(argv[1:]))


def begin(name: str) -> RoleProcess:
    """Return the RoleProcess of this process; begin it at the first call."""
    global _current
    if _current is None:
        _current = RoleProcess(name)
        _current.begin()
    return _current


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:  # the loop is closed: the role has ended by itself
        log.debug("the event loop is closed already")


def _threads() -> Iterator[str]:
    """Yield a line for each other thread: its location in this project's code."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    for ident, frame in sys._current_frames().items():
        if ident != own and (location := _location(frame)):
            yield f"thread {names.get(ident, ident)} at {location}"


def _tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[str]:
    """Yield a line for each task of the event loop: its location in this project's code."""
    for task in asyncio.all_tasks(loop) if loop else ():
        locations = [location for frame in task.get_stack() if (location := _location(frame))]
        if locations:
            yield f"task {task.get_name()} at {locations[-1]}"


def _location(frame: FrameType | None) -> str | None:
    """Return file, line and name of the innermost function of this project, or None if there is none."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_SOURCE) and "site-packages" not in file and file != __file__:
            return f"{file.removeprefix(_SOURCE)[1:]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return None
