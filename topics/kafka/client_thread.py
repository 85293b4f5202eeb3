"""Thread of one Kafka client, which makes all calls of the client."""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ClientThread:
    """A thread that calls functions for coroutines, one after the other.

    A call of a consumer of confluent-kafka 2.16 from another thread waits behind `poll`, and does not return
    while a rebalance callback runs. So each consumer has one thread for all calls that ask the broker.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[[], T]) -> T:
        """Return the result of `function`, which the thread calls."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            result: T | None = None
            error: Exception | None = None
            try:
                result = function()
            except Exception as raised:
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._calls.put(call)
        return await future

    def wait_for(self, coroutine: "Coroutine[Any, Any, T]", loop: asyncio.AbstractEventLoop) -> T:
        """Return the result of a coroutine on `loop`; make other calls meanwhile.

        The thread itself calls it, in a callback of the client.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        future.add_done_callback(lambda _: self._calls.put(None))
        while not future.done():
            if call := self._calls.get():
                call()
        return future.result()

    def stop(self) -> None:
        """End the thread after the calls that were made before."""
        self._calls.put(_end_thread)

    def _serve(self) -> None:
        try:
            while True:
                if call := self._calls.get():
                    call()
        except _StopServing:
            return


class _StopServing(BaseException):
    """The thread is not needed any more."""


def _end_thread() -> None:
    raise _StopServing


def _settle(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():  # the waiting task was cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
