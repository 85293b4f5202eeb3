"""Rate limit on reads of a pipe. Pure.

A read costs the worker as much for one byte as for many. The program decides how many bytes each read
returns: single bytes, even from a full pipe, if it set O_DIRECT on it. A pause loses no output: the pipe
fills, and its writers block.
"""

from dataclasses import dataclass

SMALL_BYTES = 4096
"""Reads of fewer bytes are counted. Larger ones are few, because output is limited."""
BURST = 200
"""Small reads that are permitted without a pause."""
READS_PER_S = 100
"""Rate of small reads beyond `BURST`."""


@dataclass(slots=True)
class Pace:
    """Token bucket for the small reads of one pipe."""

    _tokens: float = BURST
    _since_s: float = 0.0

    def pause_s(self, got_bytes: int, now_s: float) -> float:
        """Count a read at `now_s`, and return the pause before the next one."""
        if got_bytes >= SMALL_BYTES:
            return 0
        gained = (now_s - self._since_s) * READS_PER_S
        self._tokens = min(BURST, self._tokens + gained) - 1
        self._since_s = now_s
        return max(0.0, -self._tokens / READS_PER_S)
