"""Reading of the output of a program, to its end."""

import asyncio
import os
import time
from collections.abc import Callable

from processors.sandbox.pace import Pace

CHUNK_BYTES = 65536
"""Bytes of one read of a pipe: the default capacity of a pipe of Linux."""


class PipeReader:
    """Reader of a pipe to its end, which keeps the first bytes and passes each chunk of them to `kept_more`.

    Pauses between reads slow a program down that often prints few bytes, see Pace.
    """

    def __init__(
        self,
        descriptor: int,
        limit_bytes: int,
        changed: Callable[[], None],
        kept_more: Callable[[bytes], None] | None = None,
    ) -> None:
        self.kept = bytearray()
        self.overflowed = False
        self.ended = False
        self.cpu_time_s = 0.0
        """CPU time of this thread for the reads and for `kept_more`."""
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        self._changed = changed
        self._kept_more = kept_more
        self._pace: Pace | None = Pace()
        self._resuming: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        before_s = time.thread_time()
        try:
            self._take()
        finally:
            self.cpu_time_s += time.thread_time() - before_s
        self._changed()

    def _take(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        room = self._limit_bytes - len(self.kept)
        self.kept += chunk[:room]
        if self._kept_more is not None and (more := chunk[:room]):
            self._kept_more(more)
        self.overflowed = self.overflowed or len(chunk) > room
        if not chunk:
            self.close()
        elif self._pace is not None and (pause_s := self._pace.pause_s(len(chunk), self._loop.time())):
            self._loop.remove_reader(self._descriptor)
            self._resuming = self._loop.call_later(pause_s, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._descriptor, self._read)

    def hurry(self) -> None:
        """Read the rest without pauses, because no process can write any more."""
        self._pace = None
        if self._resuming is not None:
            self._resuming.cancel()
            self._resume()

    def close(self) -> None:
        """Read no more, and close the pipe."""
        if not self.ended:
            self.ended = True
            if self._resuming is not None:
                self._resuming.cancel()
                self._resuming = None
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
