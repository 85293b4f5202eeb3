"""First deliveries: records that no other process of the group can have received before.

An optimisation: short work of a first delivery needs neither lease nor commit before it runs. Without this
module each delivery would be leased and committed first (rule 4). See `docs/performance.md`.
"""

from collections.abc import Collection

from confluent_kafka import Message

from topics.kafka.codec import HOPS, header


class FirstDeliveries:
    """Decision whether a delivery is a first one, for the assigned partitions. Pure."""

    def __init__(self) -> None:
        self._first_from: dict[int, int] = {}

    def is_first(self, message: Message, high_watermark: int) -> bool:
        """Return whether no process can have started a record before; a redirected one counts as started.

        Another process may have received it, and crashed because of it, if it existed before the first record
        was read since the assignment. `high_watermark` is read then, or later. (After a leader's failure the
        next leader's may be lower for a moment, so that a redelivery is taken for a first delivery.)
        """
        partition, offset = message.partition() or 0, message.offset() or 0
        first_from = self._first_from.setdefault(partition, max(high_watermark, offset + 1))
        return offset >= first_from and header(message, HOPS) is None

    def forget(self, partitions: Collection[int]) -> None:
        """Forget partitions that are not assigned any more."""
        for partition in partitions:
            self._first_from.pop(partition, None)
