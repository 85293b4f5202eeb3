"""Turns without transactions: the store processor appends records of the queue like ingest does.

A transaction costs the broker ten requests, and its records are visible some 6 ms later. An optimisation:
without this module turns are part of transactions. The row of a submission has `owed` until a worker has it,
so a record that is lost with this process is appended again. Two records are harmless (rule 3), but no two of
them may count as first deliveries. So this process appends records only while it surely is a member of its
group: for a while after a transaction, which the group would have fenced otherwise.
"""

import asyncio
import itertools
import logging
import math
from functools import partial

from confluent_kafka import Message

from processors.store.dispatcher import Dispatcher
from processors.store.partition import Partition
from processors.store.turns import Turn
from topics.kafka.ports import Producer

log = logging.getLogger(__name__)


class TurnQueue:
    """The queue, as far as one store processor appends to it outside of transactions."""

    def __init__(
        self, producer: Producer, dispatcher: Dispatcher, queue_partitions: int, member_s: float
    ) -> None:
        """`member_s` is for how long this process may append after the begin of a transaction.

        It is below the session timeout of the group, before which no other process gets its partitions.
        """
        self._producer, self._dispatcher, self._member_s = producer, dispatcher, member_s
        self._any_place = itertools.cycle(range(queue_partitions))
        self._member_since_s = -math.inf

    def committed(self, begun_s: float) -> None:
        """Record that a transaction which began then was committed."""
        self._member_since_s = begun_s

    def close(self) -> None:
        """Append nothing until the next transaction: the assignment or the memory has changed."""
        self._member_since_s = -math.inf

    def is_open(self, now_s: float) -> bool:
        """Return whether records may be appended now."""
        return now_s - self._member_since_s < self._member_s

    def append(self, partition: Partition, turn: Turn, place: int | None) -> None:
        """Append the record of a submission; if that fails, it waits again."""
        record = partition.owed_record(turn.id, maybe_enqueued=turn.maybe_enqueued)
        if record is not None:
            to = next(self._any_place) if place is None else place
            appended = self._producer.publish(record, partition=to)
            appended.add_done_callback(partial(self._appended, turn))

    def _appended(self, turn: Turn, appended: "asyncio.Future[Message]") -> None:
        error = None if appended.cancelled() else appended.exception()
        if error is not None:
            log.warning("%s waits again, since the queue did not take it: %s", turn.id, error)
            self._dispatcher.put_back(turn)
