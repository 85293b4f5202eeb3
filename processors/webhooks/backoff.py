"""When to try again. Pure."""

FACTOR = 4.0
LONGEST_S = 3600.0


def pause_s(first_s: float, tries: int) -> float:
    """How long to wait, at most, after the `tries`th try in vain (from 1): longer each time, to an hour."""
    return min(first_s * FACTOR ** min(tries - 1, 32), LONGEST_S)
