"""Verdicts, scores and outcomes of what programs and checkers did."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from processors.sandbox import Box, BoxTooSmallError, Sandboxes
from processors.worker.checker import SHARE_BYTES, CheckerFailedError, OutputChecker, share_of
from processors.worker.compile_cache import CompileCache
from processors.worker.compiling import BoxCompiler
from processors.worker.grading import (
    Grade,
    grade_of,
    outcome_of,
    stages_without_box,
    verdict_of_failure,
    verdict_of_output,
)
from processors.worker.job import Job
from tests.unit.processors.test_answer_budget import completed
from topics.request.cases import CheckerComparison, TestCase
from topics.request.limits import RunLimits
from topics.request.model import SubmissionRequest
from topics.submissions.stage import Outcome, RunStage, Verdict, total_score

REQUEST = SubmissionRequest(run="true")
CHECKED = REQUEST.replace(comparison=CheckerComparison(mode="checker", run="true"))


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        ("cpu_time_s", "time_limit"),
        ("wall_time_s", "time_limit"),
        ("memory_bytes", "memory_limit"),
        ("stdout_bytes", "output_limit"),
        ("stderr_bytes", "output_limit"),
        ("processes", "runtime_error"),
        ("box_bytes", "runtime_error"),
        ("file_size_bytes", "runtime_error"),
        (None, "runtime_error"),
    ],
)
def test_a_limit_has_a_verdict_whatever_the_exit_code(limit: str | None, verdict: Verdict) -> None:
    killed = completed(exit_code=None, signal="SIGKILL", limit_exceeded=limit)
    assert not killed.ok
    assert verdict_of_failure(killed) == verdict
    late = completed(exit_code=0, limit_exceeded=limit)
    assert late.ok if limit is None else verdict_of_failure(late) == verdict


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(1.0, "accepted"), (1e-9, "accepted"), (0.0, "wrong_output"), (None, "checker_error")],
)
def test_a_share_has_a_verdict(share: float | None, verdict: Verdict) -> None:
    assert verdict_of_output(share) == verdict


def test_points_are_scored_by_share() -> None:
    case = TestCase(points=3.0, expected_output="")
    assert grade_of(REQUEST, case, "accepted", 1.0) == Grade("accepted", 3.0, True)
    assert grade_of(REQUEST, case, "accepted", 1 / 3) == Grade("accepted", 1.0, True)
    assert grade_of(REQUEST, case, "not_run") == Grade("not_run", 0.0, False)
    assert grade_of(REQUEST, TestCase(points=0.1), "accepted", 0.7).score == 0.07
    assert grade_of(REQUEST, TestCase(expected_output=""), "wrong_output").score is None


def test_passed_needs_something_to_compare() -> None:
    assert grade_of(REQUEST, TestCase(), "accepted", 1.0).passed is None
    assert grade_of(REQUEST, TestCase(), "runtime_error").passed is None
    assert grade_of(REQUEST, TestCase(expected_output="x"), "runtime_error").passed is False
    assert grade_of(CHECKED, TestCase(), "accepted", 0.5).passed is True
    assert grade_of(CHECKED, TestCase(), "checker_error").passed is False


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        (["accepted"], "ok"),
        (["accepted", "wrong_output"], "wrong_output"),
        (["wrong_output", "not_run"], "wrong_output"),
        (["wrong_output", "runtime_error"], "run_failed"),
        (["time_limit", "not_run"], "run_failed"),
        (["memory_limit"], "run_failed"),
        (["output_limit"], "run_failed"),
        (["runtime_error", "checker_error"], "internal_error"),
    ],
)
def test_outcome(verdicts: list[Verdict], outcome: Outcome) -> None:
    assert outcome_of(RunStage(verdict=verdict) for verdict in verdicts) == outcome


def test_files_that_do_not_fit_are_an_error_of_each_case_or_of_the_first() -> None:
    request = REQUEST.replace(test_cases=(TestCase(points=1.0), TestCase(points=1.0)))
    first, second = stages_without_box(request, "too small", "box_bytes")
    assert first == second
    assert (first.verdict, first.stderr, first.limit_exceeded) == ("runtime_error", "too small", "box_bytes")
    stopped = stages_without_box(request.replace(stop_at_first_failure=True), "too small", "box_bytes")
    assert stopped == (first, RunStage(verdict="not_run", score=0.0))


def test_scores_add_up_as_people_expect() -> None:
    runs = [RunStage(score=score) for score in (0.1, 0.2, None)]
    assert total_score(runs) == 0.3
    assert total_score([RunStage(score=0.1)] * 10) == 1.0
    assert total_score([RunStage(score=1e9)] * 1000) == 1e12
    assert total_score([RunStage(score=0.0)]) == 0
    assert total_score([RunStage(), RunStage()]) is None


# -- checkers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "share"), [(0, 1.0), (1, 0.0), (2, 0.0), (4, 0.0), (8, 0.0)])
def test_a_checker_accepts_and_refuses_by_its_exit_code(code: int, share: float) -> None:
    assert share_of(completed(b"0.5", exit_code=code)) == share


@pytest.mark.parametrize(
    ("stdout", "stderr", "share"),
    [
        (b"", b"points 0.25 3 of 12 right\n", 0.25),
        (b"1", b"0.5", 1.0),
        (b"good", b"0.5", 0.5),
        (b"case3: .5.", b"", 0.5),
        (b"2e-1", b"", 0.2),
        (b"+1.", b"", 1.0),
        (b"-0", b"", 0.0),
    ],
)
def test_a_share_is_the_first_number_that_the_checker_prints(
    stdout: bytes, stderr: bytes, share: float
) -> None:
    given = share_of(completed(stdout, stderr, exit_code=7))
    assert (given, str(given)) == (share, str(share))


def test_only_the_beginning_of_a_stream_is_searched_for_a_share() -> None:
    assert share_of(completed(b"x" * (SHARE_BYTES - 4) + b" 0.5", b"1", exit_code=7)) == 0.5
    assert share_of(completed(b"x" * SHARE_BYTES + b" 0.5", b"1", exit_code=7)) == 1.0
    with pytest.raises(CheckerFailedError, match="in the first 4 KiB"):
        share_of(completed(b"", b"x" * SHARE_BYTES + b" 0.5", exit_code=7))


def test_files_of_a_checker_that_do_not_fit_are_tried_once() -> None:
    boxes = NoRoom()
    job = cast("Job", SimpleNamespace(variables={}))
    comparison = CheckerComparison(mode="checker", run="true")

    async def checked() -> OutputChecker:
        async with AsyncExitStack() as stack:
            compiler = BoxCompiler(cast("Sandboxes", boxes), CompileCache(Path("/nonexistent"), 0), 1000)
            checker = OutputChecker(comparison, compiler, stack, job)
            for number in range(3):
                assert await checker.check(number, TestCase(), b"", b"") == (None, None)
            await checker.keep()
        return checker

    failed = "the checker failed at test_cases.0: comparison.files exceed comparison.limits.box_files"
    assert asyncio.run(checked()).failure == failed
    assert boxes.tried == 1


class NoRoom:
    """Sandboxes whose boxes are too small for any files."""

    tried = 0

    @asynccontextmanager
    async def box(self, _files: Mapping[str, bytes], _limits: RunLimits) -> AsyncIterator[Box]:
        self.tried += 1
        raise BoxTooSmallError("box_files")
        yield


@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"half",
        b"1.5",
        b"-0.5",
        b"50 0.5",
        b"nan",
        b"1e9",
        b"x1",
        b"\xff",
        b"0.5pts",
        b"1.5x",
        b"0,5",
        b"1/2",
    ],
)
def test_a_share_must_be_a_number_from_0_to_1(printed: bytes) -> None:
    with pytest.raises(CheckerFailedError, match="needs a number from 0 to 1"):
        share_of(completed(printed, exit_code=7))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"exit_code": 3}, "comparison.run: it ended with exit code 3"),
        ({"exit_code": 127}, "comparison.run: it ended with exit code 127"),
        ({"exit_code": None, "signal": "SIGSEGV"}, "comparison.run: SIGSEGV ended it"),
        ({"exit_code": 0, "limit_exceeded": "cpu_time_s"}, "comparison.run: it exceeded cpu_time_s"),
        ({"exit_code": 1, "limit_exceeded": "box_bytes"}, "comparison.run: it exceeded box_bytes"),
    ],
)
def test_any_other_end_is_a_failure_of_the_checker(end: dict[str, object], reason: str) -> None:
    with pytest.raises(CheckerFailedError, match=reason):
        share_of(completed(**end))  # type: ignore[arg-type]
