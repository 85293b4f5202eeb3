"""Free slots of workers, as far as these have published them on `X.slots`."""

from topics.leases import CapacityReport

REPEAT_S = 2.0
"""Period in which each worker publishes unchanged free slots, for processes that started since."""
_FORGOTTEN_S = 3 * REPEAT_S
_ARRIVES_S = 0.1
"""Time for which a redirected record counts as a slot that its new worker may still publish as free."""


class PeerCapacity:
    """Free slots of other processes, as far as these have published them."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[CapacityReport, float]] = {}
        self._redirected: list[tuple[str, float]] = []
        """Names of the workers that records were redirected to recently, with the time."""

    def update(self, report: CapacityReport, now_s: float) -> None:
        """Record the free slots that a process published."""
        self._reports[report.worker] = report, now_s

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

    def choose(self, now_s: float, memory_bytes: int = 0, *, full_too: bool = False) -> int | None:
        """Return a partition whose owner has the most free slots, and count one of them as taken.

        Only owners that can hold a memory limit of `memory_bytes` count. With `full_too`, owners without free
        slots count as well. Return None if there is no such owner.
        """
        able = [each for each in self._current(now_s) if _can_hold(each[0], memory_bytes)]
        report, free = max(able, key=lambda each: each[1], default=(None, 0))
        if report is None or (free <= 0 and not full_too):
            return None
        self._redirected.append((report.worker, now_s))
        return report.partitions[len(self._redirected) % len(report.partitions)]

    def _current(self, now_s: float) -> list[tuple[CapacityReport, int]]:
        self._redirected = [(to, at_s) for to, at_s in self._redirected if now_s - at_s < _ARRIVES_S]
        current = []
        for worker, (report, since_s) in tuple(self._reports.items()):
            if now_s - since_s > _FORGOTTEN_S:
                del self._reports[worker]
            elif report.partitions:  # no record can be redirected to a worker without partitions
                redirected = sum(to == worker for to, _ in self._redirected)
                current.append((report, max(0, report.free - redirected)))
        return current


def _can_hold(report: CapacityReport, memory_bytes: int) -> bool:
    return report.memory_bytes is None or report.memory_bytes >= memory_bytes
