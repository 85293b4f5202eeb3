"""How often a pipe is read."""

from processors.sandbox.pace import BURST, READS_PER_S, SMALL_BYTES, Pace


def test_small_reads_are_held_to_a_rate_after_a_burst() -> None:
    pace, now_s = Pace(), 1000.0
    assert [pace.pause_s(1, now_s) for _ in range(BURST)] == [0] * BURST
    for _ in range(10 * BURST):
        now_s += pace.pause_s(1, now_s)
    assert abs(now_s - 1000 - 10 * BURST / READS_PER_S) < 0.1


def test_large_reads_are_never_held() -> None:
    pace = Pace()
    assert not any(pace.pause_s(SMALL_BYTES, 0) for _ in range(10 * BURST))


def test_a_quiet_pipe_has_its_burst_again() -> None:
    pace = Pace()
    for _ in range(2 * BURST):
        pace.pause_s(1, 0)
    assert not any(pace.pause_s(1, 1000) for _ in range(BURST))
    assert pace.pause_s(1, 1000) > 0
