"""What the last minute's numbers are made of."""

from ingest.models import LastMinute, Percentiles
from ingest.stats import RecentStats
from topics.submissions.stage import Outcome
from topics.submissions.state import Status, Submission
from topics.times import rfc3339

NOW_MS = 1_800_000_000_000


def ended(
    id: str, age_ms: int, taken_ms: int, status: Status = "finished", outcome: Outcome | None = "ok"
) -> Submission:
    ended_ms = NOW_MS - age_ms
    created_at = rfc3339(ended_ms - taken_ms)
    return Submission(
        id=id,
        status=status,
        created_at=created_at,
        finished_at=rfc3339(ended_ms),
        outcome=outcome,
    )


def test_the_last_minute() -> None:
    recent = RecentStats()
    for number in range(100):
        wait_s = recent.count_start(NOW_MS - 2000, NOW_MS - 2000 + number + 1)
        assert wait_s == (number + 1) / 1000
        recent.count_end(ended(f"{number}", age_ms=1000, taken_ms=10 * (number + 1)))
    recent.count_end(ended("cancelled", age_ms=1000, taken_ms=500, status="cancelled", outcome=None))
    recent.count_end(ended("long ago", age_ms=60_000, taken_ms=5))
    assert recent.last_minute(NOW_MS) == LastMinute(
        finished=101,
        finished_per_s=1.683,
        outcomes={"ok": 100, "cancelled": 1},
        queue_wait_s=Percentiles(p50=0.05, p99=0.099),
        answer_s=Percentiles(p50=0.5, p99=0.99),
    )


def test_nothing_happened() -> None:
    assert RecentStats().last_minute(NOW_MS) == LastMinute(
        finished=0, finished_per_s=0, outcomes={}, queue_wait_s=None, answer_s=None
    )
