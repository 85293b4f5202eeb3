"""Detection of lost records and stuck commits in a health checker.

Around a rebalance Faust can drop records that were in flight. If it drops several, it never commits that
partition again. If it drops one, it commits as if none were missing. After a new start they are redelivered,
provided that no later record was acknowledged to Faust.
"""


class PartitionWatchdog:
    """Watchdog of one partition, from its assignment on.

    It measures time in acknowledged ticks of its own, which stop while Kafka is away. The log must have no
    gaps: the topic of leases is not compacted, and its records are not written in transactions.
    """

    def __init__(self, next_offset: int, patience_ticks: float) -> None:
        """Expect records from `next_offset` on; report trouble after `patience_ticks` acknowledged ticks."""
        self.next_offset = next_offset
        self._patience_ticks = patience_ticks
        self._since_record = 0
        self._since_handled_tick = 0
        self._handled_tick: int | None = None

    def tick_acknowledged(self) -> None:
        """Count a tick of this process that the broker acknowledged."""
        self._since_record += 1
        self._since_handled_tick += 1

    def record_came(self, offset: int) -> str | None:
        """Return which records are missing before this one; None if it is the next one or an earlier one."""
        self._since_record = 0
        missing = range(self.next_offset, offset)
        self.next_offset = max(self.next_offset, offset + 1)
        return f"{len(missing)} records from offset {missing.start} on are missing" if missing else None

    def tick_handled(self, offset: int) -> None:
        """Expect a commit of the offset of a tick of this process, which the agent has handled."""
        if self._handled_tick is None:
            self._handled_tick = offset
            self._since_handled_tick = 0

    def trouble(self, committed_offset: int) -> str | None:
        """Return a description of what is stuck, or None."""
        if self._handled_tick is not None and committed_offset > self._handled_tick:
            self._handled_tick = None
        if self._handled_tick is not None and self._since_handled_tick > self._patience_ticks:
            return f"offset {self._handled_tick} was handled, but only {committed_offset} is committed"
        if self._since_record > self._patience_ticks:
            return f"no record was consumed for {self._since_record} ticks"
        return None
