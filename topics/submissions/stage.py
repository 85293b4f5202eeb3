"""Results of the stages of a submission."""

import math
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model

OutputEncoding = Literal["utf8", "base64"]
"""Encoding of what programs print as text in JSON."""


class StageResult(Model):
    """Output and cost of one program; exactly one of `exit_code` and `signal` is set after it ran."""

    stdout: str = ""
    """Standard output, in the encoding `encoding`."""
    stderr: str = ""
    """Standard error, in the encoding `encoding`."""
    encoding: OutputEncoding = "utf8"
    """Encoding of `stdout` and `stderr`: base64 if bytes are not UTF-8, or if JSON's escapes would double
    them."""
    exit_code: int | None = None
    """Exit code of the program; None if a signal ended it, or it did not run."""
    signal: str | None = None
    """Name of the signal that ended the program, such as `SIGSEGV`."""
    wall_time_s: float = 0.0
    """Wall time in seconds."""
    cpu_time_s: float = 0.0
    """CPU time in seconds of all processes of the stage together."""
    memory_bytes: int = 0
    """Peak memory in bytes of all processes of the stage together."""
    limit_exceeded: str | None = None
    """Name of the limit that was exceeded first, such as `memory_bytes`; None if none was."""
    truncated: bool = False
    """Whether a part of the output is missing."""

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself, with exit code 0 and within its limits."""
        return self.exit_code == 0 and self.limit_exceeded is None


class CompileStage(StageResult):
    """Result of the compile stage, which makes the box that each test case starts from."""

    cached: Annotated[bool, Field(exclude_if=lambda cached: not cached)] = False
    """Whether the same files were compiled before in the same way; output and cost are then of that time."""


class OutputFile(Model):
    """A regular file that the request asked for, with its content or the reason why it is left out."""

    name: str
    """Path of the file, relative to /box."""
    size_bytes: int
    """Size of the file in bytes."""
    media_type: str
    """Media type, guessed from the name."""
    content: str | None = None
    """Content in base64; None if it is left out."""
    omitted: Literal["output_file_bytes", "answer_bytes"] | None = None
    """Limit for which the content is left out: of one output file, or of all output in the answer."""


Verdict = Literal[
    "accepted",
    "wrong_output",
    "time_limit",
    "memory_limit",
    "output_limit",
    "runtime_error",
    "not_run",
    "checker_error",
]
"""Result of a test case as one word; `RunStage.verdict` describes each."""


class CheckerStage(StageResult):
    """Result of one run of the checker, whose output is its comment on the output of a test case."""


class RunStage(StageResult):
    """Result of one test case."""

    # Fields of later versions are left out if they are None, so that old events fold to the same bytes.
    verdict: Annotated[Verdict | None, Field(exclude_if=lambda verdict: verdict is None)] = None
    """Result as one word; None only for submissions of versions that had no verdicts.

    `accepted`: exit code 0 within the limits, and the output is right or not compared. `wrong_output`: exit
    code 0, but the output is not right. `time_limit`: `cpu_time_s` or `wall_time_s` was exceeded.
    `memory_limit`: `memory_bytes`. `output_limit`: `stdout_bytes` or `stderr_bytes`. `runtime_error`: another
    exit code, a signal or another limit. `not_run`: an earlier case failed (`stop_at_first_failure`).
    `checker_error`: the checker failed."""
    score: Annotated[float | None, Field(exclude_if=lambda score: score is None)] = None
    """Points that the case scored; None if the request gives it no `points`."""
    checker: Annotated[CheckerStage | None, Field(exclude_if=lambda checker: checker is None)] = None
    """Run of the checker; None if there is none, or the program did not succeed."""
    hidden: Annotated[bool, Field(exclude_if=lambda hidden: not hidden)] = False
    """Whether the reader is not shown what the program printed, since the test case is hidden."""
    passed: bool | None = None
    """Whether the program succeeded with the expected output: false also if the output is right but the exit
    code is not 0 or a limit was exceeded. None if the request neither expects an output nor has a checker."""
    outputs: tuple[OutputFile, ...] = ()
    """Output files, in the order of the request's patterns, then by name. If a file or a content is left
    out, `truncated` is true."""


SCORE_DIGITS = 9
"""Digits after the decimal point of scores, so that 0.1 and 0.2 are 0.3 together."""


def total_score(runs: Iterable[RunStage]) -> float | None:
    """Return the sum of the scores of test cases; None if none of them has a score."""
    scores = [run.score for run in runs if run.score is not None]
    return round(math.fsum(scores), SCORE_DIGITS) if scores else None


class DependenciesStage(Model):
    """Result of installing a submission's dependencies."""

    id: str
    """Id of the environment, shared by all submissions with the same dependencies."""
    cached: bool
    """Whether the environment was installed before the submission needed it."""
    store_path: str | None = None
    """Store path of the environment; None if it could not be installed."""
    explanation: str | None = None
    """Reason why the environment could not be installed."""
    log: str = ""
    """End of the build's log, if the build failed."""
    wall_time_s: float = 0.0
    """Seconds for which the submission waited for the environment."""


Outcome = Literal[
    "ok", "dependencies_failed", "compile_failed", "run_failed", "wrong_output", "internal_error"
]
"""Result of a submission as one word.

`ok`: all test cases are accepted. `wrong_output`: each program succeeded, but an output is not right.
`run_failed`: a program did not exit with 0 within its limits. `compile_failed`: `compile` did not.
`dependencies_failed`: the dependencies cannot be installed. `internal_error`: Envicutor failed, or a checker.
The worker decides it (`processors/worker`), and the fold decides `internal_error` of a submission that is
given up. Of several test cases, a failed run takes precedence over a wrong output.
"""
