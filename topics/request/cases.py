"""Test cases of a request, and how the output of a program is compared with the expected one."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from topics.model import Model
from topics.request.commands import ShellOrArgv, without_nul
from topics.request.file_names import check_file_names
from topics.request.files import Encoding, File, decoded
from topics.request.limits import CompileLimits, RunLimits


def _optional(default: object = None) -> Any:
    """Return a field that is left out if it is `default`, so that events of before fold to the same bytes."""
    return Field(exclude_if=lambda value: value == default)


class TestCase(Model):
    """One run of the program with its own input, in a fresh copy of the box after `compile`.

    All test cases run, one after the other, also after one has failed, unless `stop_at_first_failure` is set.
    """

    __test__ = False  # pytest would collect the class because of its name

    input: str = ""
    """Standard input, in the encoding `encoding`; it is empty by default."""
    input_file: Annotated[str | None, _optional()] = None
    """Name of one of `files` whose content is the standard input, instead of `input`."""
    encoding: Annotated[Encoding, _optional("utf8")] = "utf8"
    """Encoding of `input` and `expected_output`: `base64` or `hex` for bytes that are not UTF-8."""
    args: Annotated[tuple[str, ...], Field(fail_fast=True), AfterValidator(without_nul)] = ()
    """Arguments: `"$@"` of a script, appended to an argument vector."""
    expected_output: str | None = None
    """Standard output that the program should print, compared by `comparison`. Without it, a case is
    accepted if the program exits with 0 within its limits."""
    points: Annotated[float | None, Field(ge=0, le=1e9), _optional()] = None
    """Points that the case scores if it is accepted, 0 otherwise. Without it, the case has no score."""
    hidden: Annotated[bool, _optional(False)] = False
    """Whether only API keys that may read hidden test cases are shown input, arguments, expected output and
    what the program printed. Others are shown verdict, score and cost."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.input and self.input_file is not None:
            raise ValueError("give either input or input_file")
        for name, text in (("input", self.input), ("expected_output", self.expected_output)):
            try:
                decoded(text or "", self.encoding)
            except ValueError as error:
                raise ValueError(f"{name} is not valid {self.encoding}: {error}") from None
        return self

    def stdin(self, files: tuple[File, ...]) -> bytes:
        """Return the standard input; `files` are those of the request, which has `input_file`."""
        if self.input_file is None:
            return decoded(self.input, self.encoding)
        return next(file.data() for file in files if file.name == self.input_file)

    def expected(self) -> bytes | None:
        """Return the expected output as bytes, or None if there is none."""
        return None if self.expected_output is None else decoded(self.expected_output, self.encoding)


class LineComparison(Model):
    """Lines must be equal, without white space at the ends of lines and of the whole output.

    A trailing blank or a missing newline at the end makes no difference. White space within a line does.
    """

    mode: Literal["lines"] = "lines"
    """Name of this comparison in a request."""


class ExactComparison(Model):
    """All bytes must be equal, including the newline at the end."""

    mode: Literal["exact"]
    """Name of this comparison in a request."""


class TokenComparison(Model):
    """The tokens between white space must be equal; how they are arranged in lines makes no difference."""

    mode: Literal["tokens"]
    """Name of this comparison in a request."""


class FloatComparison(Model):
    """Like `tokens`, but two numbers are equal if they differ by little.

    They are if |printed - expected| <= max(absolute, relative * |expected|). Other tokens, NaN and infinities
    must be equal as text, regardless of case.
    """

    mode: Literal["floats"]
    """Name of this comparison in a request."""
    absolute: Annotated[float, Field(ge=0)] = 1e-6
    """Largest absolute difference of two equal numbers."""
    relative: Annotated[float, Field(ge=0)] = 1e-6
    """Largest difference of two equal numbers, in proportion to the expected one."""


CHECKER_FILES = ("input", "output", "answer")
"""Files of a test case in the box of its checker, whose names are the arguments of the checker."""


class CheckerComparison(Model):
    """A program decides, in a sandbox and a box of its own, with the environment of the submission.

    It runs for each case whose program exited with 0 within its limits. Its box has the files `input`,
    `output` (what the program printed) and `answer` (`expected_output`, or empty), whose names are its
    arguments in this order, as testlib expects them. Exit code 0 accepts the output, and 1, 2, 4 and 8
    (testlib's `_wa`, `_pe`, `_dirt`, `_unexpected_eof`) refuse it as `wrong_output`. Exit code 7 (testlib's
    `_points`) accepts a part: the first number in the first 4 KiB of standard output, or else of standard
    error, is the share of `points`, from 0 to 1. A share of 0 is `wrong_output`. Any other end is the verdict
    `checker_error`, with which the submission ends as `internal_error`.
    """

    mode: Literal["checker"]
    """Name of this comparison in a request."""
    files: Annotated[tuple[File, ...], Field(max_length=256, fail_fast=True)] = ()
    """Files of the checker, which the program that is checked does not see. They have `content` or `from`, as
    those of the request. None is called `input`, `output` or `answer`."""
    compile: ShellOrArgv | None = None
    """Command that compiles the checker, once for all cases."""
    run: ShellOrArgv
    """Command that runs the checker."""
    compile_limits: CompileLimits = CompileLimits()
    """Limits of compiling the checker."""
    limits: RunLimits = RunLimits()
    """Limits of one run of the checker."""

    @field_validator("files")
    @classmethod
    def _file_names(cls, files: tuple[File, ...]) -> tuple[File, ...]:
        check_file_names([file.name for file in files])
        for file in files:
            if file.name.partition("/")[0] in CHECKER_FILES:
                raise ValueError(
                    f"file name {file.name!r} is taken: input, output and answer are those of a test case"
                )
        return files


Comparison = Annotated[
    LineComparison | ExactComparison | TokenComparison | FloatComparison | CheckerComparison,
    Field(discriminator="mode"),
]
"""How the standard output is compared with `expected_output`."""
LINES = LineComparison()
"""The comparison of a request that names none."""
