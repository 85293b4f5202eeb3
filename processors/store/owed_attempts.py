"""Attempts that a request handler was to enqueue, and that the store processor owes until a worker has them.

A `Requested` with `dispatch="direct"` enqueues nothing: its request handler produces the record of the queue,
and may end before that. So the store processor enqueues an attempt if no event shows in time that a worker
has it. The row stays as it is, since only events change rows. After a restart the store processor therefore
enqueues once more what a row has as owed. Two records of one attempt are harmless (rule 3).
"""

from collections.abc import Collection, Iterable
from itertools import takewhile

ENQUEUE_AFTER_S = 3.0
"""Time after which the store processor enqueues what it owes. Workers publish `Started` within some 50 ms."""


class OwedAttempts:
    """Ids whose attempt is owed, by partition and in the order of their times, which are monotonic. Pure."""

    def __init__(self) -> None:
        self._since_s: dict[int, dict[str, float]] = {}
        self._read_first: dict[int, tuple[int, float]] = {}
        """End of a partition when attempts were found to be late, and the time of that."""

    def restored(self, partition: int, ids: Iterable[str], now_s: float) -> None:
        """Begin anew with a partition, whose rows have `ids` as owed."""
        self._since_s[partition] = dict.fromkeys(ids, now_s)

    def forget(self, partitions: Collection[int]) -> None:
        """Drop partitions that were revoked, or whose memory is gone."""
        for partition in partitions:
            self._since_s.pop(partition, None)
            self._read_first.pop(partition, None)

    def folded(self, partition: int, id: str, now_s: float, *, owed: bool) -> None:
        """Record whether an id is owed after an accepted event."""
        if owed:
            self._since_s[partition].setdefault(id, now_s)
        else:
            self._since_s[partition].pop(id, None)

    def due(self, partition: int, now_s: float, *, end: int, next_offset: int) -> list[str]:
        """Return the ids that are to be enqueued now.

        They are late, and the events that existed when that was found are folded. `end` is the high watermark
        of the partition, negative if it is not known yet.
        """
        if end < 0 or not self._late(partition, now_s):
            return []
        end_then, then_s = self._read_first.setdefault(partition, (end, now_s))
        if next_offset < end_then:
            return []
        del self._read_first[partition]
        return self._late(partition, then_s)

    def enqueued(self, partition: int, ids: Iterable[str]) -> None:
        """Record that a committed transaction enqueued these ids."""
        for id in ids:
            del self._since_s[partition][id]

    def _late(self, partition: int, now_s: float) -> list[str]:
        since_s = self._since_s[partition].items()
        return [id for id, _ in takewhile(lambda entry: entry[1] <= now_s - ENQUEUE_AFTER_S, since_s)]
