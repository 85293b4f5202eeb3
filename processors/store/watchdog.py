"""End of a store processor's process that makes no progress; a thread of its own, since a client may hang."""

import threading
import time

from topics.process import crash

STUCK_S = 20.0
"""Time without progress after which the process ends: librdkafka 2.16 can hang for ever in
`send_offsets_to_transaction` after a broker restart (#5456)."""
_LOOK_S = 1.0


class Watchdog:
    """Thread that ends the process `STUCK_S` after the last call of `progress`."""

    def __init__(self, name: str) -> None:
        """Watch a processor, which `name` stands for in the last log line."""
        self._name = name
        self._ended = threading.Event()
        self.progress()

    def progress(self) -> None:
        """Record that there is progress."""
        self._progress_s = time.monotonic()

    def start(self) -> None:
        """Begin to watch the progress in a thread."""
        self.progress()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the thread within a second."""
        self._ended.set()

    def _watch(self) -> None:
        while time.monotonic() - self._progress_s < STUCK_S:
            if self._ended.wait(_LOOK_S):
                return
        crash(f"{self._name} made no progress for {STUCK_S} s")
