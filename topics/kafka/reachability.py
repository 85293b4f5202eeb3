"""Reachability of the brokers from this process. A change is logged once, whatever the number of clients."""

import logging
import threading
from weakref import WeakSet

log = logging.getLogger(__name__)


class Reachability:
    """Which clients of a process have lost their brokers. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unreachable: WeakSet[object] = WeakSet()
        """Clients that have lost all brokers. A replaced client disappears with its last reference."""
        self._was_unreachable = False

    @property
    def is_reachable(self) -> bool:
        """Whether all clients reach a broker. A change is noticed after up to five seconds."""
        return not self._was_unreachable

    def lost(self, client: object, servers: str, why: str) -> None:
        """Record that `client` reaches none of these brokers."""
        with self._lock:
            self._unreachable.add(client)
            if not self._was_unreachable:
                self._was_unreachable = True
                log.warning(
                    "Kafka at %s is not reachable, trying again%s", servers, f": {why}" if why else ""
                )

    def found(self, client: object) -> None:
        """Record that `client` reaches a broker."""
        with self._lock:
            self._unreachable.discard(client)
            if self._was_unreachable and not self._unreachable:
                self._was_unreachable = False
                log.info("Kafka is reachable again")


OF_THIS_PROCESS = Reachability()
