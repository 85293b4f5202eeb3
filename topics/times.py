"""Conversion of times to and from text: RFC 3339, UTC, with milliseconds and `Z`."""

import time
from datetime import UTC, datetime


def rfc3339(time_ms: int) -> str:
    """Return a Unix time in milliseconds as text."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_ms() -> int:
    """Return the present Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def now() -> str:
    """Return the present time as text."""
    return rfc3339(now_ms())


def milliseconds(text: str) -> int:
    """Return the Unix time in milliseconds of a time in ISO 8601, which is in UTC unless it has an offset.

    Raises:
        ValueError: the text is not a time in ISO 8601.
    """
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
