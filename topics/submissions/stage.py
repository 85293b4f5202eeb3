"""What happened in one stage of a submission."""

from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model


class StageResult(Model):
    """Output and cost of one program; exactly one of `exit_code` and `signal` is set once it ran."""

    stdout: str = ""
    stderr: str = ""
    encoding: Literal["utf8", "base64"] = "utf8"
    """Of `stdout` and `stderr` together: base64 where bytes are not UTF-8, or escaping would double them."""
    exit_code: int | None = None
    signal: str | None = None
    """Name of the signal that ended it, such as `SIGSEGV`."""
    wall_time_s: float = 0.0
    cpu_time_s: float = 0.0
    memory_bytes: int = 0
    """Peak of all processes of the stage together."""
    limit_exceeded: str | None = None
    """Name of the limit that was hit first, such as `memory_bytes`."""
    truncated: bool = False
    """Whether output is missing."""

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with exit code 0."""
        return self.exit_code == 0 and self.limit_exceeded is None


class CompileStage(StageResult):
    """What made the box that each test case starts from."""

    cached: Annotated[bool, Field(exclude_if=lambda cached: not cached)] = False
    """Whether the same files were compiled before in the same way: output and cost are of that time."""


class OutputFile(Model):
    """A regular file that the request asked for: all of it, or why not."""

    name: str
    """Relative to /box."""
    size_bytes: int
    media_type: str
    """Guessed from the name."""
    content: str | None = None
    """Base64; None where it was left out."""
    omitted: Literal["output_file_bytes", "answer_bytes"] | None = None
    """What it was too large for: an output file at all, or what was left of the answer."""


class RunStage(StageResult):
    """One test case."""

    passed: bool | None = None
    """Whether the output is the expected one; None where none was given."""
    outputs: tuple[OutputFile, ...] = ()
    """In the order of the request's patterns, then by name; `truncated` if anything is left out."""


class DependenciesStage(Model):
    """What became of a submission's dependencies."""

    id: str
    """Of the Dependencies object, shared by all submissions with the same dependencies."""
    cached: bool
    """Whether they were there when the submission asked."""
    store_path: str | None = None
    explanation: str | None = None
    """Why they could not be installed."""
    log: str = ""
    """The end of the build's log, where it failed."""
    wall_time_s: float = 0.0
    """How long the submission waited for them."""


Outcome = Literal[
    "ok", "dependencies_failed", "compile_failed", "run_failed", "wrong_output", "internal_error"
]
