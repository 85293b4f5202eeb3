"""Statistics of the last minute: submissions that ended, their outcomes, queue waits and answer times."""

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import Message

from ingest.models import LastMinute, Listed, Percentiles
from topics.kafka.codec import DecodeError, decode_fact, decode_key, header
from topics.submissions.facts import FACTS, Requested, Started
from topics.times import milliseconds

WINDOW_S = 60
"""Age up to which a start or an end is counted."""
_WINDOW_MS = WINDOW_S * 1000
_MOST = 100_000
"""Entries kept per list; more than one node has handled in a minute."""
_REQUESTED, _STARTED = (
    next(ce_type for ce_type, model in FACTS.items() if model is of) for of in (Requested, Started)
)


class _Ended(NamedTuple):
    time_ms: int
    taken_ms: int
    result: str


class RecentStats:
    """Statistics of the last minute, which the reader threads of events and store update.

    All times are append times of the log. Every method may be called from any thread.
    """

    def __init__(self, summary: Callable[[str], bytes | None]) -> None:
        """Read ended submissions with `summary`, which returns the row that lists show of an id."""
        self._summary = summary
        self._lock = threading.Lock()
        self._requested: dict[str, int] = {}
        """Request times of submissions that no worker has started, in the order of the log, by id."""
        self._waits: deque[tuple[int, int]] = deque(maxlen=_MOST)
        """Pairs of the time of a first start and the milliseconds since its request."""
        self._ended: deque[_Ended] = deque(maxlen=_MOST)

    def count_events(self, messages: Iterable[Message]) -> None:
        """Count records of `submissions.events`, in the order of the log."""
        for message in messages:
            ce_type = header(message, "ce_type")
            try:
                if ce_type == _REQUESTED:
                    self.count_request(decode_key(message), message.timestamp()[1])
                elif ce_type == _STARTED:
                    started = decode_fact(message, FACTS)
                    self.count_start(started.id, started.happened_ms)
            except DecodeError:
                continue

    def count_rows(self, messages: Iterable[Message]) -> None:
        """Count records of `submissions.store` that the view has applied."""
        for key in {message.key() for message in messages}:
            id = key.decode(errors="replace") if isinstance(key, bytes) else key or ""
            if (summary := self._summary(id)) is not None:
                self.count_row(Listed.model_validate_json(summary))

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

    def count_row(self, listed: Listed) -> None:
        """Count a submission if its row is a final one."""
        if listed.finished_at is None:
            return
        finished_ms = milliseconds(listed.finished_at)
        taken_ms = finished_ms - milliseconds(listed.created_at)
        with self._lock:
            self._requested.pop(listed.id, None)
            self._ended.append(_Ended(finished_ms, taken_ms, listed.outcome or listed.status))
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
            answer_s=_percentiles([one.taken_ms for one in ended]),
        )


def _percentiles(times_ms: Sequence[int]) -> Percentiles | None:
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] / 1000 for share in (0.5, 0.99))
    return Percentiles(p50=p50, p99=p99)
