"""Detection of a host that stands still: it is suspended, or this process is stopped or frozen.

The wall time of a program that ran meanwhile has no meaning.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LATE_S = 1.0
"""Delay of a timer above which the host stood still."""
_PERIOD_S = 0.1
"""Time between two timers."""
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_IDLE_S = 2.0
"""Time for which the thread watches on after the last stage, since the next one often follows soon."""


class Punctuality:
    """Whether timers, of which one is set at any time, fire when they are due. Pure.

    A thread that had other work, or waited for a processor, is late for another reason than a standstill.
    """

    def __init__(self) -> None:
        self._due_s, self._busy_s = float("inf"), 0.0

    def timer_set(self, now_s: float, delay_s: float, busy_s: float) -> bool:
        """Note that the timer before has fired, and one is due in `delay_s`; return whether that was late.

        `busy_s` is the time that the thread ever ran or waited for a processor.
        """
        late_s = now_s - self._due_s - (busy_s - self._busy_s)
        self._due_s, self._busy_s = now_s + delay_s, busy_s
        return late_s > LATE_S


class StandstillWatch:
    """Thread that notices standstills. It is not the event loop's, which calls of the kernel may block."""

    def __init__(self) -> None:
        self._stages = 0
        self._wanted, self._closing = threading.Event(), threading.Event()
        self._beat_s = self._stood_still_s = float("-inf")
        """When the thread last woke, and when it last noticed a standstill, in monotonic time."""
        self._thread = threading.Thread(target=self._watch, name="standstill", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self) -> Iterator[Callable[[], bool]]:
        """Watch within the context; yield a function that returns whether the host stood still so far."""
        self._stages += 1
        self._wanted.set()
        began_s = time.monotonic()
        try:
            yield lambda: self._stood_still_since(began_s)
        finally:
            self._stages -= 1

    def close(self) -> None:
        """End the thread, and wait for its end."""
        self._closing.set()
        self._wanted.set()
        self._thread.join()

    def _stood_still_since(self, began_s: float) -> bool:
        # After a standstill the event loop may be earlier than the thread.
        is_late = time.monotonic() - max(self._beat_s, began_s) > LATE_S + _PERIOD_S
        return is_late or self._stood_still_s >= began_s

    def _watch(self) -> None:
        with _busy_times() as busy_s:
            while not self._closing.is_set():
                self._wanted.wait()
                self._watch_while_wanted(busy_s)
                self._wanted.clear()
                if self._stages:  # one began just now
                    self._wanted.set()

    def _watch_while_wanted(self, busy_s: Callable[[], float]) -> None:
        punctuality, left_s, closing = Punctuality(), _IDLE_S, False
        while left_s > 0 and not closing:
            left_s = _IDLE_S if self._stages else left_s - _PERIOD_S
            self._beat_s = time.monotonic()
            if punctuality.timer_set(self._beat_s, _PERIOD_S, busy_s()):
                self._stood_still_s = self._beat_s
            closing = self._closing.wait(_PERIOD_S)


@contextmanager
def _busy_times() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the time that this thread ever ran or waited for a processor.

    The kernel's `schedstat` begins with both, in nanoseconds (Documentation/scheduler/sched-stats.rst).
    A kernel without it gives the time that the thread ran.
    """
    if not _SCHEDSTAT.exists():
        yield time.thread_time
        return
    with _SCHEDSTAT.open("rb", buffering=0) as schedstat:

        def busy_s() -> float:
            schedstat.seek(0)
            ran_ns, waited_ns, _ = schedstat.read().split()
            return (int(ran_ns) + int(waited_ns)) / 1e9

        yield busy_s
