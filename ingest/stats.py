"""Statistics of the last minute: submissions that ended, their outcomes, queue waits and answer times."""

import math
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from ingest.models import LastMinute, Percentiles
from topics.submissions.state import Submission
from topics.times import milliseconds

WINDOW_S = 60
"""Age up to which a start or an end is counted."""
_WINDOW_MS = WINDOW_S * 1000
_MOST = 100_000
"""Entries kept per list; more than one node has handled in a minute."""


class _Ended(NamedTuple):
    time_ms: int
    answered_ms: int
    result: str


class RecentStats:
    """Statistics of the last minute, which the thread that folds events updates.

    All times are append times of the log. Every method may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: deque[tuple[int, int]] = deque(maxlen=_MOST)
        """Pairs of the time of a first start and the milliseconds since its request."""
        self._ended: deque[_Ended] = deque(maxlen=_MOST)

    def count_start(self, created_ms: int, time_ms: int) -> float:
        """Count the queue wait at the first start of a submission, and return it in seconds."""
        wait_ms = max(0, time_ms - created_ms)
        with self._lock:
            self._waits.append((time_ms, wait_ms))
            while self._waits[0][0] <= time_ms - _WINDOW_MS:
                self._waits.popleft()
        return wait_ms / 1000

    def count_end(self, ended: Submission) -> None:
        """Count a submission that has ended."""
        assert ended.finished_at is not None
        finished_ms = milliseconds(ended.finished_at)
        answered_ms = finished_ms - milliseconds(ended.created_at)
        with self._lock:
            self._ended.append(_Ended(finished_ms, answered_ms, ended.outcome or ended.status))
            while self._ended[0].time_ms <= finished_ms - _WINDOW_MS:
                self._ended.popleft()

    def last_minute(self, now_ms: int) -> LastMinute:
        """Return the statistics of the minute before `now_ms`, a Unix time in milliseconds."""
        since_ms = now_ms - _WINDOW_MS
        with self._lock:
            ended = [one for one in self._ended if one.time_ms > since_ms]
            waits_ms = [wait_ms for time_ms, wait_ms in self._waits if time_ms > since_ms]
        return LastMinute(
            finished=len(ended),
            finished_per_s=round(len(ended) / WINDOW_S, 3),
            outcomes=dict(Counter(one.result for one in ended).most_common()),
            queue_wait_s=_percentiles(waits_ms),
            answer_s=_percentiles([one.answered_ms for one in ended]),
        )


def _percentiles(times_ms: Sequence[int]) -> Percentiles | None:
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] / 1000 for share in (0.5, 0.99))
    return Percentiles(p50=p50, p99=p99)
