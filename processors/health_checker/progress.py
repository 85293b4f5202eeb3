"""Whether a health checker still gets on. Its own ticks are its clock: it stands still while Kafka is away.

After some rebalances Faust stops to commit a partition, since a record that was in flight was dropped, and
only a new start reads it again.
"""


class Progress:
    """What happens in one partition, from its assignment on."""

    def __init__(self, patience_ticks: float) -> None:
        """Be patient for so many acknowledged ticks."""
        self._patience_ticks = patience_ticks
        self._since_record = 0
        self._since_handled_tick = 0
        self._handled_tick: int | None = None

    def tick_acknowledged(self) -> None:
        """The broker has another tick of ours in its log."""
        self._since_record += 1
        self._since_handled_tick += 1

    def record_handled(self) -> None:
        """The agent is done with a record."""
        self._since_record = 0

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
