"""Free slots of workers, as far as these have published them on `X.slots`."""

from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import Message

from topics.kafka.codec import DecodeError, decode
from topics.leases import CapacityReport, PreparedCounts

REPEAT_S = 2.0
"""Period in which each worker publishes unchanged free slots, for processes that started since."""
_FORGOTTEN_S = 3 * REPEAT_S
_ARRIVES_S = 0.1
"""Time for which a record that was dispatched counts as a slot that its worker may still publish as free."""


class Choice(NamedTuple):
    """A worker for one record."""

    worker: str
    partition: int
    """Partition of the queue that is assigned to the worker."""
    at_s: float


class PeerCapacity:
    """Free slots of other processes, as far as these have published them."""

    def __init__(self, *, until_reported: bool = False) -> None:
        """Count a chosen slot as taken for a moment; with `until_reported` until its worker reports again.

        The latter keeps work from a worker that does not live any more, and suits a caller that calls
        `release` at the end of the work.
        """
        self._until_reported = until_reported
        self._reports: dict[str, tuple[CapacityReport, float]] = {}
        self._chosen: list[Choice] = []
        """Choices of the last moment, whose records may be on their way."""
        self._choices: Counter[str] = Counter()

    def update(self, report: CapacityReport, now_s: float) -> None:
        """Record the free slots that a process published."""
        self._reports[report.worker] = report, now_s

    def read(self, messages: list[Message], now_s: float) -> None:
        """Record the free slots of records of `X.slots`; skip what cannot be decoded."""
        for message in messages:
            with suppress(DecodeError):
                self.update(decode(CapacityReport, message.value()), now_s)

    @property
    def others(self) -> bool:
        """Whether any other process has published its free slots."""
        return bool(self._reports)

    def memory_bytes(self, now_s: float) -> int:
        """Return the largest memory limit that another process with partitions published; 0 if none did."""
        return max((report.memory_bytes or 0 for report, _ in self._current(now_s)), default=0)

    def free(self, now_s: float) -> int:
        """Return how many records other processes would start at once."""
        return sum(free for _, free in self._current(now_s))

    def prepared(self, now_s: float) -> PreparedCounts:
        """Return the sum of what other processes published of their prepared sandboxes."""
        counts = [report.prepared for report, _ in self._current(now_s) if report.prepared]
        return PreparedCounts(hits=sum(one.hits for one in counts), misses=sum(one.misses for one in counts))

    def workers(self, now_s: float) -> int:
        """Return the number of other processes with partitions."""
        return len(self._current(now_s))

    def choose(self, now_s: float, memory_bytes: int = 0, *, full_too: bool = False) -> Choice | None:
        """Return the worker with the most free slots, and count one of them as taken for a moment.

        Only owners that can hold a memory limit of `memory_bytes` count. With `full_too`, owners without free
        slots count as well. Return None if there is no such owner.
        """
        able = [each for each in self._current(now_s) if _can_hold(each[0], memory_bytes)]
        report, free = max(able, key=lambda each: each[1], default=(None, 0))
        if report is None or (free <= 0 and not full_too):
            return None
        self._choices[report.worker] += 1
        partition = report.partitions[self._choices[report.worker] % len(report.partitions)]
        choice = Choice(report.worker, partition, now_s)
        self._chosen.append(choice)
        return choice

    def release(self, choice: Choice) -> None:
        """Do not count a slot as taken any more, since its work is over or does not come."""
        with suppress(ValueError):
            self._chosen.remove(choice)

    def _current(self, now_s: float) -> list[tuple[CapacityReport, int]]:
        self._chosen = [choice for choice in self._chosen if self._is_taken(choice, now_s)]
        current = []
        for worker, (report, since_s) in tuple(self._reports.items()):
            if now_s - since_s > _FORGOTTEN_S:
                del self._reports[worker], self._choices[worker]
            elif report.partitions:  # no record can be redirected to a worker without partitions
                taken = sum(choice.worker == worker for choice in self._chosen)
                current.append((report, max(0, report.free - taken)))
        return current

    def _is_taken(self, choice: Choice, now_s: float) -> bool:
        """Return whether the worker's report may not count the record of a choice yet."""
        if not self._until_reported or choice.worker not in self._reports:
            return now_s - choice.at_s < _ARRIVES_S
        return self._reports[choice.worker][1] - choice.at_s < _ARRIVES_S


def _can_hold(report: CapacityReport, memory_bytes: int) -> bool:
    return report.memory_bytes is None or report.memory_bytes >= memory_bytes
