"""Whether a health checker still gets on, and misses nothing.

Around a rebalance Faust can drop records that were in flight. Where it drops several it never commits that
partition again; where it drops a single one it commits as if nothing were missing. A new start reads them
again, as long as nothing after them was acknowledged to Faust.
"""


class PartitionWatchdog:
    """What happens in one partition, from its assignment on.

    Its clock are its own ticks, which stand still while Kafka is away. The log must have no holes: leases are
    neither compacted nor written in transactions.
    """

    def __init__(self, next_offset: int, patience_ticks: float) -> None:
        """Expect records from `next_offset` on; be patient for so many acknowledged ticks."""
        self.next_offset = next_offset
        self._patience_ticks = patience_ticks
        self._since_record = 0
        self._since_handled_tick = 0
        self._handled_tick: int | None = None

    def tick_acknowledged(self) -> None:
        """The broker has another tick of ours in its log."""
        self._since_record += 1
        self._since_handled_tick += 1

    def record_came(self, offset: int) -> str | None:
        """Which records are missing before this one; None where it is the next, or one read again."""
        self._since_record = 0
        missing = range(self.next_offset, offset)
        self.next_offset = max(self.next_offset, offset + 1)
        return f"{len(missing)} records from offset {missing.start} on did not come" if missing else None

    def tick_handled(self, offset: int) -> None:
        """The agent is done with a tick of ours: from now on its offset should be committed."""
        if self._handled_tick is None:
            self._handled_tick = offset
            self._since_handled_tick = 0

    def trouble(self, committed_offset: int) -> str | None:
        """What does not get on; None while all is well."""
        if self._handled_tick is not None and committed_offset > self._handled_tick:
            self._handled_tick = None
        if self._handled_tick is not None and self._since_handled_tick > self._patience_ticks:
            return f"offset {self._handled_tick} was handled, but only {committed_offset} is committed"
        if self._since_record > self._patience_ticks:
            return f"no record has come for {self._since_record} ticks"
        return None
