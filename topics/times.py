"""Times as text: RFC 3339, UTC, milliseconds, `Z`."""

import time
from datetime import UTC, datetime


def rfc3339(time_ms: int) -> str:
    """A Unix time in milliseconds as text."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The present time as text."""
    return rfc3339(time.time_ns() // 1_000_000)


def milliseconds(text: str) -> int:
    """A time in ISO 8601, of UTC where it does not say otherwise, as Unix time.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
