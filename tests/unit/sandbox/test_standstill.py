"""Which timers show that the host stood still."""

from processors.sandbox.standstill import LATE_S, Punctuality


def test_a_host_that_wakes_timers_late_stands_still() -> None:
    punctuality = Punctuality()
    for now_s in (100.0, 100.1, 100.19 + LATE_S):
        assert not punctuality.timer_set(now_s, 0.1, busy_s=7)
    assert punctuality.timer_set(100.3 + 2 * LATE_S, 0.1, busy_s=7)
    assert not punctuality.timer_set(100.4 + 2 * LATE_S, 0.1, busy_s=7)


def test_a_busy_thread_is_late_for_another_reason() -> None:
    punctuality = Punctuality()
    punctuality.timer_set(100, 0.1, busy_s=7)
    assert not punctuality.timer_set(105, 0.1, busy_s=11.5)
