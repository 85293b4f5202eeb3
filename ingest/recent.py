"""What happened within the last minute: how much was finished, how, and how long it took."""

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
_WINDOW_MS = WINDOW_S * 1000
_MOST = 100_000
"""Of each thing that is remembered; more than one node has been seen to do in a minute."""
_REQUESTED, _STARTED = (
    next(ce_type for ce_type, model in FACTS.items() if model is of) for of in (Requested, Started)
)


class _Ended(NamedTuple):
    time_ms: int
    taken_ms: int
    how: str


class Recent:
    """Told by the threads that read events and store, asked by another; all times are the log's."""

    def __init__(self, summary: Callable[[str], bytes | None]) -> None:
        """`summary` is what the listing keeps of a submission."""
        self._summary = summary
        self._lock = threading.Lock()
        self._requested: dict[str, int] = {}
        """When those that nobody has started yet were asked for, in that order."""
        self._waits: deque[tuple[int, int]] = deque(maxlen=_MOST)
        """When they were started, and how long that was after their request."""
        self._ended: deque[_Ended] = deque(maxlen=_MOST)

    def events(self, messages: Iterable[Message]) -> None:
        """Records of `submissions.events`, in their order."""
        for message in messages:
            ce_type = header(message, "ce_type")
            try:
                if ce_type == _REQUESTED:
                    self.requested(decode_key(message), message.timestamp()[1])
                elif ce_type == _STARTED:
                    started = decode_fact(message, FACTS)
                    self.started(started.id, started.happened_ms)
            except DecodeError:
                continue

    def rows(self, messages: Iterable[Message]) -> None:
        """Records of `submissions.store`, when the view has taken them in."""
        for key in {message.key() for message in messages}:
            id = key.decode(errors="replace") if isinstance(key, bytes) else key or ""
            if (summary := self._summary(id)) is not None:
                self.stored(Listed.model_validate_json(summary))

    def requested(self, id: str, time_ms: int) -> None:
        """Somebody asks for it."""
        with self._lock:
            self._requested.setdefault(id, time_ms)
            if len(self._requested) > _MOST:
                del self._requested[next(iter(self._requested))]

    def started(self, id: str, time_ms: int) -> None:
        """A worker took it; only the first one counts."""
        with self._lock:
            if (since_ms := self._requested.pop(id, None)) is not None:
                self._waits.append((time_ms, time_ms - since_ms))
                while self._waits[0][0] <= time_ms - _WINDOW_MS:
                    self._waits.popleft()

    def stored(self, listed: Listed) -> None:
        """It is so now."""
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
        """Up to `now_ms`, Unix time."""
        since_ms = now_ms - _WINDOW_MS
        with self._lock:
            ended = [one for one in self._ended if one.time_ms > since_ms]
            waits_ms = [wait_ms for time_ms, wait_ms in self._waits if time_ms > since_ms]
        return LastMinute(
            finished=len(ended),
            finished_per_s=round(len(ended) / WINDOW_S, 3),
            outcomes=dict(Counter(one.how for one in ended).most_common()),
            queue_wait_s=_percentiles(waits_ms),
            answer_s=_percentiles([one.taken_ms for one in ended]),
        )


def _percentiles(times_ms: Sequence[int]) -> Percentiles | None:
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] / 1000 for share in (0.5, 0.99))
    return Percentiles(p50=p50, p99=p99)
