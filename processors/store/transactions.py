"""An alert where a transaction stays open: nobody reads past it, so everything behind it stands still.

The broker ends those whose time is over. One that its coordinator forgot stays until an operator ends it
(`kafka-transactions.sh abort`).
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from topics.catalogue import Family
from topics.kafka.clients import connection
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

OPEN_S = 30.0
"""Six times the timeout of a store processor's transaction."""
_PERIOD_S = 10.0
_ANSWER_S = 5.0


class StableAndEnd(NamedTuple):
    """Of one partition."""

    stable: int
    """The last stable offset: where the first open transaction begins."""
    end: int


class OpenTransactions:
    """Which partitions have waited for the same transaction for too long."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def open_too_long(self, ends: Mapping[int, StableAndEnd], now_s: float) -> list[int]:
        """Take in where the partitions end now; those that stand still."""
        for partition, (stable, end) in ends.items():
            before = self._since.get(partition)
            if stable == end:
                self._since.pop(partition, None)
            elif before is None or before[0] != stable:
                self._since[partition] = (stable, now_s)
        return sorted(p for p, (_, since_s) in self._since.items() if now_s - since_s > OPEN_S)


def read_ends(settings: KafkaSettings, topic: str, partitions: int) -> dict[int, StableAndEnd]:
    """Where the partitions of a topic end for who reads what is committed, and for who reads all.

    Raises:
        KafkaException: the broker does not say.
    """
    admin = AdminClient(connection(settings))  # a fresh one: an old one may not find a restarted broker
    found = []
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
        futures = admin.list_offsets(asked, isolation_level=level, request_timeout=_ANSWER_S)
        found.append({tp.partition: future.result().offset for tp, future in futures.items()})
    stable, end = found
    return {p: StableAndEnd(stable[p], max(end[p], stable[p])) for p in stable}


def keep_watched(settings: KafkaSettings, family: Family) -> None:
    """Watch the store's transactions in a thread of its own, as long as the process lives."""
    threading.Thread(target=_watch, args=(settings, family), name="transactions", daemon=True).start()


def _watch(settings: KafkaSettings, family: Family) -> None:
    transactions = OpenTransactions()
    partitions = family.store.partitions(settings.profile)
    while True:
        try:
            ends = read_ends(settings, family.store.name, partitions)
        except KafkaException:
            pass  # whoever works says so
        else:
            for partition in transactions.open_too_long(ends, time.monotonic()):
                log.critical(
                    "%s/%d: a transaction is open for over %g s", family.store.name, partition, OPEN_S
                )
        time.sleep(_PERIOD_S)
