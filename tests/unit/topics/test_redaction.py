"""What readers without the right to hidden test cases are shown."""

import pytest

from topics.request.cases import CheckerComparison, TestCase
from topics.request.files import File, FileOrigin
from topics.request.model import SubmissionRequest
from topics.submissions.output import OutputChunk
from topics.submissions.redaction import (
    HIDDEN_CHECKER,
    Concealment,
    concealment,
    is_hidden,
    redacted,
    redacted_request,
)
from topics.submissions.stage import CheckerStage, CompileStage, OutputFile, RunStage
from topics.submissions.state import Submission

SECRET = "SECRET"
PLAIN = TestCase(input="shown", args=("shown",), expected_output="shown")
HIDDEN = TestCase(input=SECRET, args=(SECRET,), expected_output=SECRET, points=3, hidden=True)
FILE = OutputFile(name=SECRET, size_bytes=6, media_type="text/plain", content=SECRET)


def stage(text: str) -> RunStage:
    return RunStage(
        stdout=text,
        stderr=text,
        encoding="base64",
        exit_code=1,
        wall_time_s=1.5,
        verdict="runtime_error",
        score=0,
        passed=False,
        checker=CheckerStage(stdout=text, stderr=text, exit_code=1),
        outputs=(FILE.replace(name=text, content=text),),
    )


def submission(request: SubmissionRequest, *run: RunStage, **fields: object) -> Submission:
    made = Submission(id="a", status="finished", created_at="t", finished_at="t", request=request, run=run)
    return made.replace(**fields)


def a_request(**fields: object) -> SubmissionRequest:
    cases = (PLAIN, HIDDEN)
    return SubmissionRequest.model_validate({"run": "true", "test_cases": cases} | fields)


def test_a_hidden_case_keeps_how_it_ended_and_loses_what_it_printed() -> None:
    shown = redacted(submission(a_request(), stage("shown"), stage(SECRET), compile=CompileStage(stdout="c")))
    assert SECRET not in shown.model_dump_json()
    first, second = shown.run
    assert first == stage("shown").replace(checker=CheckerStage(exit_code=1))
    assert (second.hidden, second.outputs, second.stdout, second.encoding) == (True, (), "", "utf8")
    assert (second.verdict, second.score, second.passed, second.exit_code) == ("runtime_error", 0, False, 1)
    assert (second.wall_time_s, second.checker) == (1.5, CheckerStage(exit_code=1))
    assert shown.compile == CompileStage(stdout="c")
    assert redacted(shown) == shown
    assert shown.request is not None
    assert shown.request.test_cases == (PLAIN, TestCase(points=3, hidden=True))


def test_without_hidden_cases_nothing_changes() -> None:
    plain = submission(a_request(test_cases=(PLAIN,)), stage("shown"), error="e")
    assert redacted(plain) is plain
    rejected = plain.replace(request=None, run=())
    assert redacted(rejected) is rejected
    assert concealment(plain.request) == Concealment()


def test_an_input_file_of_a_hidden_case_is_emptied() -> None:
    origin = FileOrigin(submission="b", name=SECRET)
    files = (File(name="in", content=SECRET).replace(origin=origin), File(name="main.py", content="shown"))
    shown = redacted_request(a_request(files=files, test_cases=(TestCase(input_file="in", hidden=True),)))
    assert shown.files == (File(name="in", content=""), files[1])
    assert shown.test_cases == (TestCase(input_file="in", hidden=True),)
    whole = a_request(files=files, test_cases=(TestCase(input_file="in"), HIDDEN))
    assert redacted_request(whole).files == files


def test_no_case_shows_the_input_of_a_hidden_one_as_an_output_file() -> None:
    files = (File(name="in", content=SECRET), File(name="out", content="shown"))
    request = a_request(files=files, test_cases=(PLAIN, TestCase(input_file="in", hidden=True)))
    wrote = stage("shown").replace(
        outputs=(FILE.replace(name="in"), FILE.replace(name="out", content="shown"))
    )
    made = submission(request, wrote, wrote)
    assert [[file.name for file in run.outputs] for run in redacted(made).run] == [["out"], []]
    assert SECRET not in redacted(made).model_dump_json()
    assert is_hidden(made, 0, "in")
    assert not is_hidden(made, 0, "out")
    assert is_hidden(made, 1, "out")


def test_a_checker_is_hidden_with_any_case_and_so_are_its_failures() -> None:
    checker = CheckerComparison(
        mode="checker", files=(File(name=SECRET, content=SECRET),), compile=SECRET, run=SECRET
    )
    failed = submission(a_request(comparison=checker), outcome="internal_error", error=SECRET)
    shown = redacted(failed)
    assert SECRET not in shown.model_dump_json()
    assert shown.request is not None
    assert shown.request.checker == CheckerComparison(mode="checker", run=HIDDEN_CHECKER)
    assert SubmissionRequest.read(shown.request.model_dump_json()) == shown.request
    seen = failed.replace(request=a_request(comparison=checker, test_cases=(PLAIN,)))
    assert redacted(seen) == seen
    assert redacted(failed.replace(request=a_request())).error == SECRET
    printed = RunStage(checker=CheckerStage(stdout=SECRET, stderr=SECRET))
    assert SECRET not in redacted(failed.replace(run=(printed,))).run[0].model_dump_json()
    assert concealment(failed.request).errors


@pytest.mark.parametrize(
    ("chunk", "is_shown"),
    [
        ({"stage": "compile"}, True),
        ({"stage": "run", "case": 0}, True),
        ({"stage": "run", "case": 1}, False),
        ({"stage": "run"}, False),
        ({"stage": "checker", "case": 0}, False),
        ({}, False),
    ],
)
def test_live_output_of_hidden_cases_is_left_out(chunk: dict[str, object], is_shown: bool) -> None:
    piece = OutputChunk(
        attempt=1, worker="w", stage="run", stream="stdout", sequence=0, offset_bytes=0, text=""
    )
    fields = piece.model_dump(exclude={"stage", "case"}) | chunk
    raw = OutputChunk.model_construct(**fields).model_dump_json(warnings=False).encode() if chunk else b"{"
    hidden = concealment(a_request())
    assert hidden.shows(raw) == is_shown
    assert Concealment().shows(raw)
    assert not concealment(None).shows(raw)
