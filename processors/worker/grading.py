"""Grading: pure functions from what programs did to verdicts, scores and the outcome."""

from collections.abc import Iterable
from typing import NamedTuple

from processors.sandbox import Completed
from topics.request.cases import TestCase
from topics.request.model import SubmissionRequest
from topics.submissions.stage import SCORE_DIGITS, Outcome, RunStage, Verdict

_VERDICT_OF_LIMIT: dict[str, Verdict] = {
    "cpu_time_s": "time_limit",
    "wall_time_s": "time_limit",
    "memory_bytes": "memory_limit",
    "stdout_bytes": "output_limit",
    "stderr_bytes": "output_limit",
}


class Grade(NamedTuple):
    """Verdict, score and `passed` of a test case, as its stage has them."""

    verdict: Verdict
    score: float | None
    passed: bool | None


def grade_of(request: SubmissionRequest, case: TestCase, verdict: Verdict, share: float = 0.0) -> Grade:
    """Return the grade of a test case with this verdict, and this share of its points."""
    is_judged = case.expected_output is not None or request.checker is not None
    return Grade(
        verdict,
        None if case.points is None else abs(round(case.points * share, SCORE_DIGITS)),  # of -0
        verdict == "accepted" if is_judged else None,
    )


def verdict_of_output(share: float | None) -> Verdict:
    """Return the verdict of a program that succeeded, by the share of the points that its output deserves.

    `share` is None if the checker failed.
    """
    if share is None:
        return "checker_error"
    return "accepted" if share > 0 else "wrong_output"


def verdict_of_failure(completed: Completed) -> Verdict:
    """Return the verdict of a program that did not succeed."""
    return _VERDICT_OF_LIMIT.get(completed.limit_exceeded or "", "runtime_error")


def stages_without_box(request: SubmissionRequest, reason: str, limit: str) -> tuple[RunStage, ...]:
    """Return the stages of the test cases if the files do not fit into a box of this limit."""
    stages: list[RunStage] = []
    for case in request.cases:
        if stages and request.stop_at_first_failure:
            stages.append(stage_not_run(request, case))
        else:
            grade = grade_of(request, case, "runtime_error")
            stages.append(RunStage(stderr=reason, limit_exceeded=limit, **grade._asdict()))
    return tuple(stages)


def stage_not_run(request: SubmissionRequest, case: TestCase) -> RunStage:
    """Return the stage of a test case that does not run, since an earlier one was not accepted."""
    return RunStage(**grade_of(request, case, "not_run")._asdict())


def outcome_of(runs: Iterable[RunStage]) -> Outcome:
    """Return the outcome of all runs.

    A failed checker takes precedence over a failed run, and that over a wrong output.
    """
    verdicts = {run.verdict for run in runs} - {"not_run"}
    if "checker_error" in verdicts:
        return "internal_error"
    if not verdicts <= {"accepted", "wrong_output"}:
        return "run_failed"
    return "wrong_output" if "wrong_output" in verdicts else "ok"
