"""Exponential backoff between the delivery attempts of a webhook. Pure."""

FACTOR = 4.0
LONGEST_S = 3600.0


def pause_s(first_s: float, tries: int) -> float:
    """Return the longest pause after failed attempt number `tries`, counted from 1."""
    return min(first_s * FACTOR ** min(tries - 1, 32), LONGEST_S)
