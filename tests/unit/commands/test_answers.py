"""What people see of an answer."""

import io
from typing import get_args

from rich.console import Console

from envicutor_client.cli.answers import (
    EXIT_CODES,
    failures,
    how_it_ended,
    outcome_or_status,
    print_answer,
    printable,
)
from envicutor_client.models import (
    Answer,
    CompileStage,
    DependenciesStage,
    OutputFile,
    RunStage,
    StageResult,
)
from topics.request.limits import MiB
from topics.submissions.stage import Outcome
from topics.submissions.state import FINAL


def test_every_end_has_an_exit_code() -> None:
    assert set(EXIT_CODES) == {*get_args(Outcome), *(FINAL - {"finished"})}


def test_answer_says_what_happened_and_what_it_cost() -> None:
    answer = Answer(
        id="one",
        status="finished",
        created_at="",
        outcome="wrong_output",
        dependencies=DependenciesStage(id="d", cached=True),
        compile=CompileStage(exit_code=0, wall_time_s=1.5, cached=True),
        run=(
            RunStage(stdout="3\n4\n", exit_code=0, passed=True, memory_bytes=MiB, wall_time_s=0.25),
            RunStage(stderr="/w==", encoding="base64", signal="SIGKILL", limit_exceeded="cpu_time_s"),
        ),
    )
    out = io.StringIO()
    print_answer(answer, Console(file=out, width=20))
    assert outcome_or_status(answer) == "wrong_output"
    assert out.getvalue().splitlines() == [
        "wrong_output  one",
        "dependencies  cached, waited 0.00 s",
        "compile  exit code 0  1.500 s, CPU 0.000 s, 0.0 MiB",
        "  (cached: compiled before, for another submission)",
        "run 1  passed  0.250 s, CPU 0.000 s, 1.0 MiB",
        "  stdout",
        "    3",
        "    4",
        "run 2  SIGKILL, over cpu_time_s  0.000 s, CPU 0.000 s, 0.0 MiB",
        "  stderr",
        "    \\xff",
    ]


def test_each_failure_is_one_line() -> None:
    killed = RunStage(verdict="time_limit", signal="SIGKILL", limit_exceeded="wall_time_s")
    right, not_run = RunStage(verdict="accepted", exit_code=0), RunStage(verdict="not_run")
    answer = Answer(id="one", status="finished", created_at="", outcome="run_failed", run=[killed])
    assert [*failures(answer)] == ["run: time_limit, SIGKILL, over wall_time_s"]
    wrong = RunStage(verdict="wrong_output", exit_code=0)
    answer = answer.model_copy(update={"run": [right, wrong, killed, not_run]})
    assert [*failures(answer)] == ["run 2: wrong_output", "run 3: time_limit, SIGKILL, over wall_time_s"]
    answer = answer.model_copy(update={"run": [], "compile": CompileStage(exit_code=1)})
    assert [*failures(answer)] == ["compile: exit code 1"]
    missing = DependenciesStage(id="d", cached=False, explanation="no package x", log="a\x1b\n")
    answer = Answer(id="one", status="finished", created_at="", dependencies=missing)
    assert [*failures(answer)] == ["dependencies: no package x", "dependencies: a\\x1b"]
    assert [*failures(Answer(id="one", status="finished", created_at="", run=[right]))] == []


def test_output_files_are_told_of_line_by_line() -> None:
    came = OutputFile(name="a.csv", size_bytes=4, media_type="text/csv", content="MSwyCg==")
    left = OutputFile(name="b\n\x1b", size_bytes=9, media_type="x/y", omitted="answer_bytes")
    run = RunStage(exit_code=0, outputs=(came, left), truncated=True)
    out = io.StringIO()
    print_answer(
        Answer(id="one", status="finished", created_at="", outcome="ok", run=(run,)),
        Console(file=out, width=20),
    )
    assert out.getvalue().splitlines()[2:] == [
        "  outputs",
        "    a.csv  text/csv, 4 bytes",
        "    b\\n\\x1b  x/y, 9 bytes, left out: too large for answer_bytes",
        "  (output is missing: it was too much)",
    ]


def test_how_a_stage_ended() -> None:
    assert how_it_ended(StageResult(exit_code=3)) == "exit code 3"
    assert how_it_ended(RunStage(exit_code=0, passed=False)) == "wrong output"
    assert how_it_ended(RunStage(exit_code=1, passed=False)) == "exit code 1"


def test_output_cannot_steer_the_terminal() -> None:
    assert printable("a\tb\n\x1b[2J\r\x00é[red]") == "a\tb\n\\x1b[2J\\r\\x00é[red]"
