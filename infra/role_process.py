"""The life of a role's process: its first log line, how a signal ends it, and by when it has ended.

This module imports nothing heavy, so that a role can log its first line and handle signals before its own
modules are imported.
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

ROLES = frozenset(
    {
        "ingest",
        "request-handler",
        "submission-store",
        "build-store",
        "worker",
        "cache-builder",
        "sealer",
        "webhook-sender",
        "health-checker",
    }
)
"""Commands that are roles. `infra/commands/roles.py` has them as functions, but takes long to import."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
DEADLINE_S = 8.0
"""From a signal to the forced end of the process: below the 10 s that operators may rely on."""
_WITHOUT_PYTHON_S = 1.0
"""After the deadline and this time faulthandler ends the process: a client may hang with Python's lock."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SOURCE = str(Path(__file__).resolve().parents[1])
_NAMED_AT_MOST = 8
"""Functions that the last log line names."""


class RoleProcess:
    """Signals of this process, and its end.

    A broker that does not answer can keep any thread in a call that has no timeout. So the signal handler
    only passes the signal to a thread, which asks the role to stop and ends the process at the deadline.
    """

    def __init__(self, name: str) -> None:
        """`name` is the role's, with its arguments, as log lines have it."""
        self.name = name
        self.deadline_s = DEADLINE_S
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # its `put` is safe in a signal handler
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Handle signals from now on, and log what this process is."""
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)
        servers = os.environ.get("ENVICUTOR_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
        log.info("%s: starting, with Kafka at %s", self.name, servers)

    def handle(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal. Libraries with signal handlers of their own, such as Faust, call this as well."""
        self._signals.put(number)

    def on_stop(self, stop: Callable[[], None], *, within_s: float = DEADLINE_S) -> None:
        """Call `stop`, in another thread, when a signal comes; the process then has `within_s` to end.

        Until this is called a signal ends the process at once.
        """
        with self._lock:
            self._stop, self.deadline_s = stop, within_s

    def on_stop_in_loop(self, stop: Callable[[], None], *, within_s: float = DEADLINE_S) -> None:
        """Do the same for a `stop` that must be called in the running event loop."""
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
            log.info("%s: ends on %s", self.name, number.name)
            self.end(0)
        log.info("%s: stopping on %s", self.name, number.name)
        faulthandler.dump_traceback_later(self.deadline_s + _WITHOUT_PYTHON_S, exit=True)
        stop()
        time.sleep(self.deadline_s)
        hangs = "; ".join([*_threads(), *_tasks(self._loop)][:_NAMED_AT_MOST])
        log.critical(
            "%s: not ended %g s after %s, so it is ended now. It hangs in: %s",
            self.name,
            self.deadline_s,
            number.name,
            hangs or "unknown code",
        )
        self.end(os.EX_SOFTWARE)


_current: RoleProcess | None = None


def begin_if_role(argv: Sequence[str]) -> None:
    """Begin the process of a role if the command line asks for one, before its modules are imported."""
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
    """Yield where threads are in this project's code."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    for ident, frame in sys._current_frames().items():
        if ident != own and (place := _place(frame)):
            yield f"thread {names.get(ident, ident)} at {place}"


def _tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[str]:
    """Yield where the event loop's tasks are in this project's code."""
    for task in asyncio.all_tasks(loop) if loop else ():
        places = [place for frame in task.get_stack() if (place := _place(frame))]
        if places:
            yield f"task {task.get_name()} at {places[-1]}"


def _place(frame: FrameType | None) -> str | None:
    """Return file, line and name of the innermost function of this project; None if there is none."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_SOURCE) and "site-packages" not in file and file != __file__:
            return f"{file.removeprefix(_SOURCE)[1:]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return None
