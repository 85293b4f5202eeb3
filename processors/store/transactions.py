"""Alert about transactions that stay open: consumers do not read past them, so the partition stands still.

The broker aborts transactions that exceed their timeout. A transaction that its coordinator lost stays open
until an operator ends it (`kafka-transactions.sh abort`).
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from topics.kafka.clients import connection
from topics.settings import KafkaSettings
from topics.topic import Family

log = logging.getLogger(__name__)

OPEN_S = 30.0
"""Age of a transaction that is reported: six times the timeout of a store processor's transaction."""
_PERIOD_S = 10.0
_ANSWER_S = 5.0


class StableAndEnd(NamedTuple):
    """The two end offsets of one partition."""

    stable: int
    """The last stable offset: the first offset of the first open transaction, or `end` if there is none."""
    end: int


class OpenTransactions:
    """Record of how long the last stable offset of each partition has not moved."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def open_too_long(self, ends: Mapping[int, StableAndEnd], now_s: float) -> list[int]:
        """Record the current end offsets; return partitions with a transaction older than `OPEN_S`."""
        for partition, (stable, end) in ends.items():
            before = self._since.get(partition)
            if stable == end:
                self._since.pop(partition, None)
            elif before is None or before[0] != stable:
                self._since[partition] = (stable, now_s)
        return sorted(p for p, (_, since_s) in self._since.items() if now_s - since_s > OPEN_S)


def read_ends(settings: KafkaSettings, topic: str, partitions: int) -> dict[int, StableAndEnd]:
    """Return where the partitions of a topic end for consumers of committed records, and of all records.

    Raises:
        KafkaException: the broker did not answer.
    """
    admin = AdminClient(connection(settings))  # a new client: an old one may not find a restarted broker
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
            pass  # the clients that need the broker log this
        else:
            for partition in transactions.open_too_long(ends, time.monotonic()):
                log.critical(
                    "%s/%d: a transaction is open for over %g s", family.store.name, partition, OPEN_S
                )
        time.sleep(_PERIOD_S)
