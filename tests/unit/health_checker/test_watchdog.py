import pytest

from processors.health_checker.watchdog import Progress

PATIENCE = 10


def acknowledge(progress: Progress, ticks: int, *, reading: bool) -> None:
    for _ in range(ticks):
        progress.tick_acknowledged()
        if reading:
            assert progress.record_came(progress.next_offset) is None


def test_all_is_well_while_ticks_are_handled_and_committed() -> None:
    progress = Progress(0, PATIENCE)
    for offset in range(100):
        acknowledge(progress, 1, reading=True)
        progress.tick_handled(offset)
        assert progress.trouble(committed_offset=offset) is None


def test_a_handled_tick_that_is_not_committed() -> None:
    progress = Progress(0, PATIENCE)
    acknowledge(progress, 50, reading=True)  # a long backlog: no tick of ours was read yet
    assert progress.trouble(committed_offset=0) is None
    progress.tick_handled(offset=7)
    acknowledge(progress, PATIENCE, reading=True)
    assert progress.trouble(committed_offset=7) is None  # a committed offset is the next one to read
    acknowledge(progress, 1, reading=True)
    progress.tick_handled(offset=8)
    trouble = progress.trouble(committed_offset=7)
    assert trouble is not None
    assert "offset 7" in trouble


def test_a_commit_may_lag_a_little() -> None:
    progress = Progress(0, PATIENCE)
    for offset in range(100):
        acknowledge(progress, 1, reading=True)
        progress.tick_handled(offset)
        assert progress.trouble(committed_offset=offset - PATIENCE // 2) is None


def test_nothing_comes() -> None:
    progress = Progress(0, PATIENCE)
    acknowledge(progress, PATIENCE, reading=False)
    assert progress.trouble(committed_offset=0) is None
    acknowledge(progress, 1, reading=False)
    assert progress.trouble(committed_offset=0) is not None
    assert progress.record_came(0) is None
    assert progress.trouble(committed_offset=0) is None


def test_no_ticks_no_trouble() -> None:
    """While Kafka is away nothing is acknowledged, so nobody is to blame."""
    progress = Progress(0, PATIENCE)
    progress.tick_handled(offset=7)
    assert all(progress.trouble(committed_offset=0) is None for _ in range(1000))


def test_records_that_come_again_are_no_trouble() -> None:
    progress = Progress(7, PATIENCE)
    assert [progress.record_came(offset) for offset in (5, 6, 7, 8, 6, 7, 8, 9)] == [None] * 8


@pytest.mark.parametrize("offset", [8, 9, 100])
def test_a_record_that_did_not_come(offset: int) -> None:
    progress = Progress(7, PATIENCE)
    missing = progress.record_came(offset)
    assert missing is not None
    assert missing.startswith(f"{offset - 7} records from offset 7 on")


def test_a_record_that_did_not_come_later() -> None:
    progress = Progress(7, PATIENCE)
    assert progress.record_came(7) is None
    assert progress.record_came(9) is not None
