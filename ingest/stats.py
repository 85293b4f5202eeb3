"""Statistics of the last minute: submissions that ended, their outcomes, queue waits and answer times."""

import math
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from ingest.models import LastMinute, Percentiles
from topics.fold import Recorded
from topics.submissions.facts import Requested, Started, SubmissionFact
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
        self._requested: dict[str, int] = {}
        """Request times of submissions that no worker has started, in the order of the log, by id."""
        self._waits: deque[tuple[int, int]] = deque(maxlen=_MOST)
        """Pairs of the time of a first start and the milliseconds since its request."""
        self._ended: deque[_Ended] = deque(maxlen=_MOST)

    def count(self, recorded: Recorded[SubmissionFact], state: Submission) -> None:
        """Count an event that changed a submission, in the order of the log, and the new state."""
        if isinstance(recorded.fact, Requested):
            self.count_request(recorded.id, recorded.time_ms)
        elif isinstance(recorded.fact, Started):
            self.count_start(recorded.id, recorded.happened_ms)
        if state.final:
            self.count_end(state)

    def count_request(self, id: str, time_ms: int) -> None:
        """Remember the time of a request, from which the queue wait is measured."""
        with self._lock:
            self._requested.setdefault(id, time_ms)
            if len(self._requested) > _MOST:
                del self._requested[next(iter(self._requested))]

    def count_start(self, id: str, time_ms: int) -> None:
        """Count the queue wait at the first start of a submission; later starts are ignored."""
        with self._lock:
            if (since_ms := self._requested.pop(id, None)) is not None:
                self._waits.append((time_ms, time_ms - since_ms))
                while self._waits[0][0] <= time_ms - _WINDOW_MS:
                    self._waits.popleft()

    def count_end(self, ended: Submission) -> None:
        """Count a submission that has ended."""
        assert ended.finished_at is not None
        finished_ms = milliseconds(ended.finished_at)
        answered_ms = finished_ms - milliseconds(ended.created_at)
        with self._lock:
            self._requested.pop(ended.id, None)
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
