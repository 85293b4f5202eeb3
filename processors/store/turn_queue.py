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
from topics.kafka.ports import Clock, Producer

log = logging.getLogger(__name__)


_SLOW_S = 0.25
"""Age of a record without acknowledgement at which nothing is appended: the queue may have no leader."""
_REFUSED_S = 60.0
"""Time for which nothing is appended after the queue refused a record."""


class TurnQueue:
    """The queue, as far as one store processor appends to it outside of transactions."""

    def __init__(
        self,
        producer: Producer,
        dispatcher: Dispatcher,
        queue_partitions: int,
        member_s: float,
        clock: Clock,
    ) -> None:
        """`member_s` is for how long this process may append after the begin of a transaction.

        It is below the session timeout of the group, before which no other process gets its partitions.
        """
        self._producer, self._dispatcher, self._clock = producer, dispatcher, clock
        self._any_place = itertools.cycle(range(queue_partitions))
        self._member_s, self._member_since_s, self._refused_until_s = member_s, -math.inf, -math.inf
        self._unacknowledged: dict[asyncio.Future[Message], float] = {}
        """Records of this assignment with the times at which they were appended, in this order."""

    def committed(self, begun_s: float) -> None:
        """Record that a transaction which began then was committed."""
        self._member_since_s = begun_s

    def close(self) -> None:
        """Append nothing until the next transaction: the assignment or the memory has changed."""
        self._member_since_s = -math.inf
        self._unacknowledged.clear()

    def is_open(self, now_s: float) -> bool:
        """Return whether records may be appended now."""
        oldest_s = next(iter(self._unacknowledged.values()), now_s)
        return (
            now_s - self._member_since_s < self._member_s
            and now_s - oldest_s <= _SLOW_S
            and now_s >= self._refused_until_s
        )

    def append(self, partition: Partition, turn: Turn, place: int | None) -> None:
        """Append the record of a submission; if that fails, it waits again."""
        record = partition.owed_record(turn.id, maybe_enqueued=turn.maybe_enqueued)
        if record is not None:
            to = next(self._any_place) if place is None else place
            appended = self._producer.publish(record, partition=to)
            self._unacknowledged[appended] = self._clock.now_s()
            appended.add_done_callback(partial(self._appended, turn))

    def _appended(self, turn: Turn, appended: "asyncio.Future[Message]") -> None:
        if self._unacknowledged.pop(appended, None) is None:
            return  # of an earlier assignment, whose memory is gone
        error = None if appended.cancelled() else appended.exception()
        if error is not None:
            log.warning("%s waits again, since the queue did not take it: %s", turn.id, error)
            self._refused_until_s = self._clock.now_s() + _REFUSED_S
            self._dispatcher.put_back(turn)
