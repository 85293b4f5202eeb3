"""Redaction of hidden test cases for readers that may not see them. Pure.

A reader without the right is shown the verdict, the score and the cost of a hidden test case, and how its
program ended. It is shown neither what the case contains nor what the program printed or wrote.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError

from topics.request.cases import CheckerComparison, TestCase
from topics.request.files import File
from topics.request.model import SubmissionRequest
from topics.submissions.output import OutputChunk
from topics.submissions.stage import CheckerStage, RunStage
from topics.submissions.state import Submission

HIDDEN_CHECKER = "echo 'the checker is hidden from this API key' >&2; exit 3"
"""Command that stands for that of a hidden checker. It accepts no output, and testlib's failures exit so."""
HIDDEN_ERROR = "its description is hidden, since it may quote the checker or a hidden test case"
"""Text that stands for `error` of a submission with a hidden checker."""
_NO_OUTPUT: Mapping[str, str] = {"stdout": "", "stderr": "", "encoding": "utf8"}


class Concealment(NamedTuple):
    """Parts of a submission that readers of live output and of facts are not shown; none by default."""

    cases: frozenset[int] = frozenset()
    """Indexes of the test cases whose output is not shown, from 0."""
    all_output: bool = False
    """Whether no output is shown, since the request is not known."""
    errors: bool = False
    """Whether descriptions of failures are not shown, since they may quote what is hidden."""

    def shows(self, chunk: bytes) -> bool:
        """Return whether a piece of live output is shown, an OutputChunk in JSON."""
        if self.all_output or not self.cases:
            return not self.all_output
        try:
            piece = OutputChunk.read(chunk)
        except ValidationError:
            return False
        return piece.stage == "compile" or (piece.case is not None and piece.case not in self.cases)


def concealment(request: SubmissionRequest | None) -> Concealment:
    """Return what readers without the right are not shown of the submission of a request, None if unknown."""
    if request is None:
        return Concealment(all_output=True, errors=True)
    cases = frozenset(number for number, case in enumerate(request.test_cases) if case.hidden)
    return Concealment(cases, errors=bool(cases) and request.checker is not None)


def is_hidden(submission: Submission, case: int, name: str) -> bool:
    """Return whether an output file of the test case with this index, from 0, is hidden, if there is one."""
    request = submission.request
    return request is not None and (case in concealment(request).cases or name in _inputs(request))


def redacted(submission: Submission) -> Submission:
    """Return the submission as readers without the right are shown it, with its request and its answer."""
    request = submission.request
    if request is None or not (hidden := concealment(request)).cases:
        return submission
    inputs = _inputs(request)
    return submission.replace(
        request=redacted_request(request),
        run=tuple(
            _run(stage) if n in hidden.cases else _shown(stage, inputs)
            for n, stage in enumerate(submission.run)
        ),
        error=HIDDEN_ERROR if submission.error is not None and hidden.errors else submission.error,
    )


def redacted_request(request: SubmissionRequest) -> SubmissionRequest:
    """Return the request without inputs, arguments and expected outputs of hidden cases, and their files.

    The files are those that a hidden case names as its input. A checker knows what it accepts, so it is
    hidden if any case is.
    """
    if not concealment(request).cases:
        return request
    inputs = _inputs(request)
    return request.replace(
        files=tuple(_file(file) if file.name in inputs else file for file in request.files),
        test_cases=tuple(_case(case) if case.hidden else case for case in request.test_cases),
        comparison=_checker(request.checker) if request.checker else request.comparison,
    )


def _inputs(request: SubmissionRequest) -> frozenset[str]:
    """Return the names of the files that hidden cases read. The box of every case has them."""
    return frozenset(case.input_file for case in request.test_cases if case.hidden and case.input_file)


def _shown(stage: RunStage, inputs: frozenset[str]) -> RunStage:
    """Return the stage of a case that is not hidden, without what discloses a hidden one.

    These are hidden inputs that `outputs` match, and what the checker printed, which may quote itself.
    """
    outputs = tuple(file for file in stage.outputs if file.name not in inputs)
    return stage.replace(outputs=outputs, checker=_checker_run(stage))


def _checker_run(stage: RunStage) -> CheckerStage | None:
    return stage.checker.replace(**_NO_OUTPUT) if stage.checker else None


def _run(stage: RunStage) -> RunStage:
    return stage.replace(**_NO_OUTPUT, checker=_checker_run(stage), outputs=(), hidden=True)


def _case(case: TestCase) -> TestCase:
    return case.replace(input="", encoding="utf8", args=(), expected_output=None)


def _file(file: File) -> File:
    return file.replace(content="", encoding="utf8", origin=None)


def _checker(checker: CheckerComparison) -> CheckerComparison:
    return checker.replace(files=(), compile=None, run=HIDDEN_CHECKER)
