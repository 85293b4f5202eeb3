"""What libraries log while Kafka is away, at a bearable rate."""

import logging


class Seldom(logging.Filter):
    """Lets each message of a library through once in `period_s`, whatever its arguments are."""

    def __init__(self, library: str, period_s: float) -> None:
        super().__init__(library)
        self._period_s = period_s
        self._last_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is of another library, or its message has not been seen for a while."""
        if not super().filter(record):
            return True
        message = f"{record.name} {record.msg}"
        if record.created - self._last_s.get(message, -self._period_s) < self._period_s:
            return False
        self._last_s[message] = record.created
        return True
