"""Calls in threads that nothing waits for."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def in_thread(run: Callable[[], T]) -> Future[T]:
    """Call `run` in a thread of its own, for which neither the caller nor the end of the process waits.

    The end of a process waits for threads of a ThreadPoolExecutor, so for as long as the programs take.
    """
    future: Future[T] = Future()

    def complete() -> None:
        try:
            future.set_result(run())
        except Exception as error:
            future.set_exception(error)

    Thread(target=complete, daemon=True).start()
    return future
