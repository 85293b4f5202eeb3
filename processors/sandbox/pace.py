"""How often a pipe is read: a pure decision.

A read costs the worker as much for one byte as for many, and the program decides how much each brings: single
bytes, even of a full pipe, if it set O_DIRECT on it. A pipe that is not read for a moment loses nothing: it
fills, and its writers wait.
"""

from dataclasses import dataclass

SMALL_BYTES = 4096
"""Reads of fewer bytes are counted. Larger ones are few, since output is limited."""
BURST = 200
"""Small reads that may follow each other without a pause."""
READS_PER_S = 100
"""Rate of further small reads."""


@dataclass(slots=True)
class Pace:
    """A token bucket for the small reads of one pipe."""

    _tokens: float = BURST
    _since_s: float = 0.0

    def pause_s(self, got_bytes: int, now_s: float) -> float:
        """Count a read at `now_s`; return for how many seconds the pipe must not be read after it."""
        if got_bytes >= SMALL_BYTES:
            return 0
        gained = (now_s - self._since_s) * READS_PER_S
        self._tokens = min(BURST, self._tokens + gained) - 1
        self._since_s = now_s
        return max(0.0, -self._tokens / READS_PER_S)
