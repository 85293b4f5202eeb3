import pytest

from processors.health_checker.watchdog import PartitionWatchdog

PATIENCE = 10


def acknowledge(watchdog: PartitionWatchdog, ticks: int, *, reading: bool) -> None:
    for _ in range(ticks):
        watchdog.tick_acknowledged()
        if reading:
            assert watchdog.record_came(watchdog.next_offset) is None


def test_all_is_well_while_ticks_are_handled_and_committed() -> None:
    watchdog = PartitionWatchdog(0, PATIENCE)
    for offset in range(100):
        acknowledge(watchdog, 1, reading=True)
        watchdog.tick_handled(offset)
        assert watchdog.trouble(committed_offset=offset) is None


def test_a_handled_tick_that_is_not_committed() -> None:
    watchdog = PartitionWatchdog(0, PATIENCE)
    acknowledge(watchdog, 50, reading=True)  # a long backlog: no tick of ours was read yet
    assert watchdog.trouble(committed_offset=0) is None
    watchdog.tick_handled(offset=7)
    acknowledge(watchdog, PATIENCE, reading=True)
    assert watchdog.trouble(committed_offset=7) is None  # a committed offset is the next one to read
    acknowledge(watchdog, 1, reading=True)
    watchdog.tick_handled(offset=8)
    trouble = watchdog.trouble(committed_offset=7)
    assert trouble is not None
    assert "offset 7" in trouble


def test_a_commit_may_lag_a_little() -> None:
    watchdog = PartitionWatchdog(0, PATIENCE)
    for offset in range(100):
        acknowledge(watchdog, 1, reading=True)
        watchdog.tick_handled(offset)
        assert watchdog.trouble(committed_offset=offset - PATIENCE // 2) is None


def test_nothing_comes() -> None:
    watchdog = PartitionWatchdog(0, PATIENCE)
    acknowledge(watchdog, PATIENCE, reading=False)
    assert watchdog.trouble(committed_offset=0) is None
    acknowledge(watchdog, 1, reading=False)
    assert watchdog.trouble(committed_offset=0) is not None
    assert watchdog.record_came(0) is None
    assert watchdog.trouble(committed_offset=0) is None


def test_no_ticks_no_trouble() -> None:
    """While Kafka is away nothing is acknowledged, so nobody is to blame."""
    watchdog = PartitionWatchdog(0, PATIENCE)
    watchdog.tick_handled(offset=7)
    assert all(watchdog.trouble(committed_offset=0) is None for _ in range(1000))


def test_records_that_come_again_are_no_trouble() -> None:
    watchdog = PartitionWatchdog(7, PATIENCE)
    assert [watchdog.record_came(offset) for offset in (5, 6, 7, 8, 6, 7, 8, 9)] == [None] * 8


@pytest.mark.parametrize("offset", [8, 9, 100])
def test_a_record_that_did_not_come(offset: int) -> None:
    watchdog = PartitionWatchdog(7, PATIENCE)
    missing = watchdog.record_came(offset)
    assert missing is not None
    assert missing.startswith(f"{offset - 7} records from offset 7 on")


def test_a_record_that_did_not_come_later() -> None:
    watchdog = PartitionWatchdog(7, PATIENCE)
    assert watchdog.record_came(7) is None
    assert watchdog.record_came(9) is not None
