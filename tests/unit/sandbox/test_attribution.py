"""Who is blamed, and when a stage is looked at."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.sandbox.attribution import (
    SOON_S,
    Bounds,
    Report,
    Usage,
    limit_exceeded,
    next_check_s,
    parse_report,
    signal_name,
    time_exceeded,
)

BOUNDS = Bounds(wall_time_s=10, memory_bytes=1, stdout_bytes=100, stderr_bytes=100, cpu_time_s=5, cpus=1)
FINE = Usage(
    failed=False,
    signal=None,
    wall_time_s=1,
    cpu_time_s=1,
    printed_too_much=None,
    oom_kills=0,
    refused_forks=0,
    full=None,
)
seconds = st.floats(0, 1e4)


def test_a_stage_inside_all_limits() -> None:
    assert limit_exceeded(None, FINE, BOUNDS) is None


def test_what_it_was_stopped_for_comes_first() -> None:
    usage = replace(FINE, failed=True, signal="SIGKILL", oom_kills=1, wall_time_s=99, cpu_time_s=99)
    assert limit_exceeded("stdout_bytes", usage, BOUNDS) == "stdout_bytes"


def test_the_wall_time_of_a_paused_worker_is_not_the_stages() -> None:
    assert limit_exceeded("wall_time_s", FINE, BOUNDS) is None
    assert (
        limit_exceeded("wall_time_s", replace(FINE, failed=True, wall_time_s=10.1), BOUNDS) == "wall_time_s"
    )


@pytest.mark.parametrize(
    ("usage", "limit"),
    [
        (replace(FINE, oom_kills=1), "memory_bytes"),
        (replace(FINE, oom_kills=1, signal="SIGXFSZ"), "memory_bytes"),
        (replace(FINE, failed=True, signal="SIGXFSZ"), "file_size_bytes"),
        (replace(FINE, failed=True, signal="SIGXCPU"), None),  # anybody can send it; the counter knows
        (replace(FINE, failed=True, signal="SIGXCPU", cpu_time_s=5.1), "cpu_time_s"),
        (replace(FINE, failed=True, signal="SIGKILL"), None),
        (replace(FINE, cpu_time_s=5.1), "cpu_time_s"),
        (replace(FINE, wall_time_s=10.1), "wall_time_s"),
        (replace(FINE, wall_time_s=10.1, cpu_time_s=5.2), "cpu_time_s"),
        (replace(FINE, printed_too_much="stderr_bytes", wall_time_s=11), "stderr_bytes"),
        (replace(FINE, failed=True, refused_forks=3), "processes"),
        (replace(FINE, failed=True, full="box_bytes"), "box_bytes"),
        (replace(FINE, failed=True, refused_forks=1, full="box_files"), "processes"),
        (replace(FINE, refused_forks=3, full="box_files"), None),
    ],
)
def test_who_is_blamed(usage: Usage, limit: str | None) -> None:
    assert limit_exceeded(None, usage, BOUNDS) == limit


@given(wall_time_s=seconds, cpu_time_s=seconds)
def test_time_is_exceeded_only_beyond_a_limit(wall_time_s: float, cpu_time_s: float) -> None:
    exceeded = time_exceeded(BOUNDS, wall_time_s, cpu_time_s)
    assert (exceeded is None) == (wall_time_s <= 10 and cpu_time_s <= 5)


@given(wall_time_s=seconds, cpu_time_s=seconds, cpus=st.floats(0.01, 4), host_cpus=st.integers(1, 128))
def test_no_limit_is_passed_unseen(
    wall_time_s: float, cpu_time_s: float, cpus: float, host_cpus: int
) -> None:
    bounds = replace(BOUNDS, cpus=cpus)
    delay_s = next_check_s(bounds, wall_time_s, cpu_time_s, host_cpus)
    assert delay_s >= SOON_S
    if delay_s > SOON_S:
        assert wall_time_s + delay_s <= bounds.wall_time_s + 1e-9
        # The kernel grants a quota per 0.1 s, and no more than there are processors.
        fastest_s = min(delay_s * host_cpus, (delay_s + 0.1) * cpus)
        assert cpu_time_s + fastest_s <= bounds.cpu_time_s + 1e-6


def test_a_stage_without_a_limit_of_cpu_time_is_left_alone() -> None:
    assert next_check_s(Bounds(300, 1, 1, 1), 0, 10, 2) == 300


@pytest.mark.parametrize(
    ("text", "report"),
    [
        (b"", Report()),
        (b"started 12\nended 256 99\n", Report(12, 99, 256, "")),
        (b"started 12\n", Report(12)),
        (b"started 1\nended 0 3\nempty\n", Report(started_ns=1, ended_ns=3, wait_status=0)),
        (b"bwrap: No such\nx y: z\n", Report(complaints="bwrap: No such; x y: z")),
        (b"started twelve\n\xff\n", Report(complaints="started twelve; \N{REPLACEMENT CHARACTER}")),
    ],
)
def test_reports(text: bytes, report: Report) -> None:
    assert parse_report(text) == report


def test_names_of_signals() -> None:
    assert [signal_name(number) for number in (9, 11, 34, 40, 64)] == [
        "SIGKILL",
        "SIGSEGV",
        "SIGRTMIN",
        "SIGRTMIN+6",
        "SIGRTMAX",
    ]
