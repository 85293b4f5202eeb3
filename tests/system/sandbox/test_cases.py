"""Test cases of one submission: verdicts, scores, checkers, stopping, standard input, and the stack."""

from pathlib import Path
from typing import Any

import pytest

from processors.sandbox import Sandboxes
from processors.worker.compile_cache import CompileCache
from processors.worker.execute import Executed
from tests.system.sandbox.laboratory import LIMITS, Laboratory
from tests.system.sandbox.test_execute import once
from topics.request.cases import CheckerComparison, TestCase
from topics.request.files import File
from topics.request.limits import CompileLimits, Limits, MiB, RunLimits
from topics.request.model import SubmissionRequest
from topics.submissions.output import OutputChunk

ECHO = SubmissionRequest(run="cat")


def executed(laboratory: Laboratory, request: SubmissionRequest, **published: Any) -> Executed:
    async def experiment(sandboxes: Sandboxes) -> Executed:
        return await once(sandboxes, request, CompileCache(Path("/nonexistent"), 0), **published)

    return laboratory.run(experiment)


def checker(run: str, **fields: Any) -> CheckerComparison:
    return CheckerComparison(mode="checker", run=run, **fields)


def test_each_end_has_its_verdict_and_score(laboratory: Laboratory) -> None:
    programs = {
        "echo right": "accepted",
        "echo wrong": "wrong_output",
        "while :; do :; done": "time_limit",
        "sleep 50": "time_limit",
        "dd if=/dev/zero of=/dev/null bs=100M count=1": "memory_limit",
        "yes": "output_limit",
        "echo right; exit 3": "runtime_error",
        "kill -SEGV $$": "runtime_error",
        "head -c 8M /dev/zero > file": "runtime_error",
    }
    limits = RunLimits(
        cpu_time_s=1.5, wall_time_s=4, memory_bytes=64 * MiB, stdout_bytes=MiB, file_size_bytes=4 * MiB
    )
    request = SubmissionRequest(
        run='eval "$1"',
        test_cases=tuple(
            TestCase(args=(program,), expected_output="right", points=0.1 * number)
            for number, program in enumerate(programs, 1)
        ),
        limits=Limits(run=limits),
    )
    result = executed(laboratory, request)
    assert result.outcome == "run_failed"
    assert [run.verdict for run in result.run] == [*programs.values()]
    assert [run.score for run in result.run] == [0.1] + [0.0] * (len(programs) - 1)
    assert [run.passed for run in result.run] == [True] + [False] * (len(programs) - 1)


def test_nothing_runs_after_the_first_failure(laboratory: Laboratory) -> None:
    cases = tuple(TestCase(input=text, expected_output="a", points=2.0) for text in ("a", "b", "a", "a"))
    request = ECHO.replace(test_cases=cases, stop_at_first_failure=True)
    result = executed(laboratory, request)
    assert result.outcome == "wrong_output"
    verdicts = ["accepted", "wrong_output", "not_run", "not_run"]
    assert [run.verdict for run in result.run] == verdicts
    assert [run.score for run in result.run] == [2, 0, 0, 0]
    assert [run.stdout for run in result.run] == ["a", "b", "", ""]


def test_standard_input_is_bytes_or_a_file(laboratory: Laboratory) -> None:
    request = SubmissionRequest(
        files=(File(name="data/in", content="ff00", encoding="hex"),),
        run="od -An -tx1",
        test_cases=(
            TestCase(input="/wA=", encoding="base64", expected_output="IGZmIDAw"),
            TestCase(input_file="data/in", encoding="hex", expected_output=b" ff 00".hex()),
        ),
    )
    result = executed(laboratory, request)
    assert [(run.verdict, run.stdout) for run in result.run] == [("accepted", " ff 00\n")] * 2


def test_what_hidden_cases_print_is_not_published(laboratory: Laboratory) -> None:
    chunks: list[OutputChunk] = []
    run = "cat; sleep 0.3"
    request = SubmissionRequest(run=run, test_cases=(TestCase(input="a", hidden=True), TestCase(input="b")))
    result = executed(laboratory, request, publish=chunks.append)
    assert [run.stdout for run in result.run] == ["a", "b"]
    assert [(chunk.case, chunk.text) for chunk in chunks] == [(1, "b")]


# -- checkers --------------------------------------------------------------------------------------

DECIDES = """
[ "$*" = "input output answer" ] || exit 3
[ "$(cat input)" = question ] && [ "$(cat answer)" = expected ] || exit 3
[ -z "$VARIABLE" ] && [ -e of-checker ] && [ ! -e of-program ] && [ ! -e dirt ] || exit 3
touch dirt
echo "comment on $(cat output)"
case $(cat output) in
    good) exit 0 ;;
    bad) exit 1 ;;
    half) echo points 0.5 of 1 >&2; exit 7 ;;
    crash) kill -SEGV $$ ;;
    endless) while :; do :; done ;;
esac
"""


def test_a_checker_decides(laboratory: Laboratory) -> None:
    case = TestCase(input="question", points=10.0)
    printed = ["good", "bad", "half", "crash", "endless", "good"]
    request = SubmissionRequest(
        files=(File(name="of-program", content=""),),
        env={"VARIABLE": "x"},
        run='[ -n "$VARIABLE" ] && [ ! -e of-checker ] && [ ! -e answer ] && printf %s "$1"',
        test_cases=(
            *(case.replace(args=(text,), expected_output="expected") for text in printed),
            case.replace(args=("good",)),
        ),
        comparison=checker(
            DECIDES,
            files=(File(name="source", content=""),),
            compile="mv source of-checker",
            limits=RunLimits(cpu_time_s=1.5),
        ),
    )
    result = executed(laboratory, request)
    verdicts = ["accepted", "wrong_output", "accepted", "checker_error", "checker_error", "accepted"]
    assert [run.verdict for run in result.run] == [*verdicts, "checker_error"]  # it has no expected output
    assert [run.score for run in result.run] == [10, 0, 5, 0, 0, 10, 0]
    assert result.outcome == "internal_error"
    assert result.error == "the checker failed at test_cases.3: comparison.run: SIGSEGV ended it"
    checks = [run.checker for run in result.run]
    assert [check and check.limit_exceeded for check in checks] == [None] * 4 + ["cpu_time_s", None, None]
    assert checks[0] is not None
    assert (checks[0].stdout, checks[0].exit_code) == ("comment on good\n", 0)


def test_a_checker_runs_for_programs_that_succeed_only(laboratory: Laboratory) -> None:
    request = SubmissionRequest(run="exit 1", comparison=checker("exit 3", compile="exit 3"))
    [run] = executed(laboratory, request).run
    assert (run.verdict, run.checker, run.passed) == ("runtime_error", None, False)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"compile": "echo no such header >&2; exit 1"},
            "comparison.compile: it ended with exit code 1: no such header",
        ),
        (
            {"compile": "sleep 50", "compile_limits": CompileLimits(wall_time_s=0.2)},
            "comparison.compile: it exceeded wall_time_s: it printed nothing",
        ),
        ({"compile": "mkdir answer"}, "comparison.compile made a file input, output or answer"),
        (
            {"files": (File(name="a", content="x" * 5000),), "limits": RunLimits(box_bytes=4096)},
            "comparison.files exceed comparison.limits.box_bytes",
        ),
        (
            {"limits": RunLimits(box_bytes=4096)},
            "input, output and answer exceed comparison.limits.box_bytes",
        ),
    ],
)
def test_a_checker_that_cannot_run_is_an_error_of_each_case_that_needs_it(
    laboratory: Laboratory, fields: dict[str, Any], reason: str
) -> None:
    cases = tuple(TestCase(args=(program,)) for program in ("exit 1", "seq 3000", "seq 3000"))
    request = SubmissionRequest(run='eval "$1"', test_cases=cases, comparison=checker("exit 0", **fields))
    result = executed(laboratory, request)
    assert [run.verdict for run in result.run] == ["runtime_error", "checker_error", "checker_error"]
    assert [run.checker for run in result.run] == [None] * 3
    assert (result.outcome, result.error) == (
        "internal_error",
        f"the checker failed at test_cases.1: {reason}",
    )


def test_a_checker_is_compiled_once_for_all_submissions(laboratory: Laboratory, tmp_path: Path) -> None:
    comparison = checker("cat made", compile="date +%N > made; echo compiled")
    request = ECHO.replace(test_cases=(TestCase(), TestCase()), comparison=comparison)

    async def experiment(sandboxes: Sandboxes) -> None:
        cache = CompileCache(tmp_path, MiB)
        made = set()
        for text in ("a", "b"):
            result = await once(sandboxes, request.replace(files=(File(name="a", content=text),)), cache)
            assert result.outcome == "ok"
            made |= {run.checker.stdout for run in result.run if run.checker}
        assert len(made) == 1

    laboratory.run(experiment)


# -- the stack -------------------------------------------------------------------------------------

RECURSION = """
#include <string.h>
static int depth(int left) {
    volatile char page[4096];
    memset((char *)page, left, sizeof page);
    return left ? depth(left - 1) + page[left % 4096] * 0 + 1 : 0;
}
int main(void) { return depth(64 * 256) != 64 * 256; }
"""


@pytest.mark.parametrize(
    ("limits", "verdict", "signal"),
    [
        ({}, "runtime_error", "SIGSEGV"),
        ({"stack_bytes": 128 * MiB}, "accepted", None),
        ({"stack_bytes": 128 * MiB, "memory_bytes": 32 * MiB}, "memory_limit", "SIGKILL"),
    ],
)
def test_deep_recursion_needs_a_large_stack(
    laboratory: Laboratory, limits: dict[str, Any], verdict: str, signal: str | None
) -> None:
    request = SubmissionRequest(
        files=(File(name="main.c", content=RECURSION),),
        compile="gcc -O0 -o main main.c && ulimit -s",
        run=("./main",),
        limits=Limits(compile=CompileLimits(stack_bytes=16 * MiB), run=RunLimits(wall_time_s=30, **limits)),
    )
    result = executed(laboratory, request)
    assert result.compile is not None
    assert result.compile.stdout == "16384\n"
    [run] = result.run
    assert (run.verdict, run.signal) == (verdict, signal)


def test_a_stack_that_a_request_sets_is_final(laboratory: Laboratory) -> None:
    script = "ulimit -Ss; ulimit -Hs"
    assert laboratory.script(script).stdout == b"8192\nunlimited\n"
    assert laboratory.script(script, LIMITS.replace(stack_bytes=16 * MiB)).stdout == b"16384\n16384\n"
