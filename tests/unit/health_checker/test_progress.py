from processors.health_checker.progress import Progress

PATIENCE = 10


def acknowledge(progress: Progress, ticks: int, *, reading: bool) -> None:
    for _ in range(ticks):
        progress.tick_acknowledged()
        if reading:
            progress.record_handled()


def test_all_is_well_while_ticks_are_handled_and_committed() -> None:
    progress = Progress(PATIENCE)
    for offset in range(100):
        acknowledge(progress, 1, reading=True)
        progress.tick_handled(offset)
        assert progress.trouble(committed_offset=offset) is None


def test_a_handled_tick_that_is_not_committed() -> None:
    progress = Progress(PATIENCE)
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
    progress = Progress(PATIENCE)
    for offset in range(100):
        acknowledge(progress, 1, reading=True)
        progress.tick_handled(offset)
        assert progress.trouble(committed_offset=offset - PATIENCE // 2) is None


def test_nothing_comes() -> None:
    progress = Progress(PATIENCE)
    acknowledge(progress, PATIENCE, reading=False)
    assert progress.trouble(committed_offset=0) is None
    acknowledge(progress, 1, reading=False)
    assert progress.trouble(committed_offset=0) is not None
    progress.record_handled()
    assert progress.trouble(committed_offset=0) is None


def test_no_ticks_no_trouble() -> None:
    """While Kafka is away nothing is acknowledged, so nobody is to blame."""
    progress = Progress(PATIENCE)
    progress.tick_handled(offset=7)
    assert all(progress.trouble(committed_offset=0) is None for _ in range(1000))
