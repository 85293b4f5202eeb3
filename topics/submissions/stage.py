"""Results of the stages of a submission."""

from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model


class StageResult(Model):
    """Output and cost of one program; exactly one of `exit_code` and `signal` is set after it ran."""

    stdout: str = ""
    stderr: str = ""
    encoding: Literal["utf8", "base64"] = "utf8"
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


class RunStage(StageResult):
    """Result of one test case."""

    passed: bool | None = None
    """Whether the output is the expected one; None if the request expects none."""
    outputs: tuple[OutputFile, ...] = ()
    """Output files, in the order of the request's patterns, then by name. If a file or a content is left
    out, `truncated` is true."""


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

The worker decides it (`processors/worker`), and the fold decides `internal_error` of a submission that is
given up. Of several test cases, a failed run takes precedence over a wrong output.
"""
