# Generated from the models of the server by `make docs`. Do not edit.
"""Models of requests and responses, as the server has them, without its checks.

Unknown fields are ignored, and words other than those listed are accepted, so that the client can read the
answers of later servers.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class WireModel(BaseModel):
    """Base of the models."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


Status = (
    Literal["queued", "started", "dependencies_installed", "compiled", "finished", "cancelled", "rejected"]
    | str
)
"""Progress of a submission; `FINAL` has those that never change."""
Outcome = (
    Literal["ok", "dependencies_failed", "compile_failed", "run_failed", "wrong_output", "internal_error"]
    | str
)
"""Result of a finished submission."""
Verdict = (
    Literal[
        "accepted",
        "wrong_output",
        "time_limit",
        "memory_limit",
        "output_limit",
        "runtime_error",
        "not_run",
        "checker_error",
    ]
    | str
)
"""Result of a test case."""
FINAL: frozenset[Status] = frozenset(["cancelled", "finished", "rejected"])
"""Statuses that never change."""
FILES_OF_FIELDS: dict[str, tuple[str, ...]] = {
    "run": ("cutor-run.sh",),
    "compile": ("cutor-compile.sh",),
    "dependencies": ("cutor.nix", "shell.nix"),
}
"""Older convention of files: the first of these files of a folder stands for a field that is missing."""
REQUEST_BYTES_CEILING = 4194304
"""Size in bytes that no request may exceed."""


class FileOrigin(WireModel):
    """Output file of an earlier submission with the same owner, whose content a request takes over."""

    submission: str
    """Id of the submission, which must have ended."""
    case: int = 0
    """Index of the test case that made the file, from 0."""
    name: str
    """Path of the output file, relative to /box, as `outputs` of the answer has it."""


class File(WireModel):
    """A file of the submission, placed below /box before its program is compiled or run.

    Its mode is 0755, so that a script with a `#!` line can be run as `./main.sh`.
    """

    name: str
    """Path relative to /box, such as `main.py` or `data/in.csv`. Its folders are made. It has at most
    1,024 bytes, and neither `.` nor `..` nor an empty component."""
    content: str = ""
    """Content, in the encoding `encoding`. A request gives either it or `from`; a stored request has it."""
    encoding: Literal["utf8", "base64", "hex"] | str = "utf8"
    """Encoding of `content`: `utf8` is the text itself; `base64` (RFC 4648, with padding) and `hex` stand for
    any bytes, such as those of an image."""
    origin: FileOrigin | None = Field(default=None, validation_alias="from", serialization_alias="from")
    """Output file of an earlier submission to take the content from. The content is copied when the request
    is accepted: the stored request has both `from` and `content`."""


class Dependencies(WireModel):
    """Packages to install: names of Debian packages or a Nix expression, and packages of PyPI and npm."""

    packages: Sequence[str] | None = None
    """Names of Debian packages, such as `python3-numpy`, as `GET /packages` finds them. An empty list is the
    base environment."""
    nix: str | None = None
    """Nix expression instead of `packages`: a list of packages, or `mkShell` with variables and small files,
    such as `with import <pkgs> {}; [ python3 python3Packages.numpy ]`. It is evaluated to data; it builds
    and fetches nothing."""
    pypi: Sequence[str] = ()
    """Packages of PyPI, such as `requests==2.32.5`; they add python3. A request may leave the version open,
    as in `pandas` or `pandas>=2`: the stored request then has the newest that can be installed. Pins are
    sorted and in one spelling."""
    npm: Sequence[str] = ()
    """Packages of npm, such as `lodash@4.17.21`; they add nodejs."""


class TestCase(WireModel):
    """One run of the program with its own input, in a fresh copy of the box after `compile`.

    All test cases run, one after the other, also after one has failed, unless `stop_at_first_failure` is set.
    """

    input: str = ""
    """Standard input, in the encoding `encoding`; it is empty by default."""
    input_file: str | None = None
    """Name of one of `files` whose content is the standard input, instead of `input`."""
    encoding: Literal["utf8", "base64", "hex"] | str = "utf8"
    """Encoding of `input` and `expected_output`: `base64` or `hex` for bytes that are not UTF-8."""
    args: Sequence[str] = ()
    """Arguments: `"$@"` of a script, appended to an argument vector."""
    expected_output: str | None = None
    """Standard output that the program should print, compared by `comparison`. Without it, a case is
    accepted if the program exits with 0 within its limits."""
    points: float | None = None
    """Points that the case scores if it is accepted, 0 otherwise. Without it, the case has no score."""
    hidden: bool = False
    """Whether only API keys that may read hidden test cases are shown input, arguments, expected output and
    what the program printed. Others are shown verdict, score and cost."""


class LineComparison(WireModel):
    """Lines must be equal, without white space at the ends of lines and of the whole output.

    A trailing blank or a missing newline at the end makes no difference. White space within a line does.
    """

    mode: Literal["lines"] = "lines"
    """Name of this comparison in a request."""


class ExactComparison(WireModel):
    """All bytes must be equal, including the newline at the end."""

    mode: Literal["exact"]
    """Name of this comparison in a request."""


class TokenComparison(WireModel):
    """The tokens between white space must be equal; how they are arranged in lines makes no difference."""

    mode: Literal["tokens"]
    """Name of this comparison in a request."""


class FloatComparison(WireModel):
    """Like `tokens`, but two numbers are equal if they differ by little.

    They are if |printed - expected| <= max(absolute, relative * |expected|). Other tokens, NaN and infinities
    must be equal as text, regardless of case.
    """

    mode: Literal["floats"]
    """Name of this comparison in a request."""
    absolute: float = 1e-06
    """Largest absolute difference of two equal numbers."""
    relative: float = 1e-06
    """Largest difference of two equal numbers, in proportion to the expected one."""


class OutputLimits(WireModel):
    """Bounds on the output of a stage, which is killed beyond them; the output up to the bound is kept."""

    stdout_bytes: int = 1048576
    """Bytes of standard output; the stage is killed beyond them."""
    stderr_bytes: int = 1048576
    """Bytes of standard error; the stage is killed beyond them."""


class RunLimits(OutputLimits):
    """Limits of one test case."""

    wall_time_s: float = 10.0
    """Wall time in seconds. On a busy host it exceeds the CPU time by far, so `cpu_time_s` is the fair limit
    for a contest, and this one a bound on sleeping."""
    cpu_time_s: float = 10.0
    """CPU time in seconds of all processes of the stage together."""
    memory_bytes: int = 268435456
    """Memory in bytes of all processes of the stage and of its tmpfs mounts; there is no swap."""
    processes: int = 64
    """Processes and threads at a time; beyond it fork and clone fail with EAGAIN."""
    file_size_bytes: int = 33554432
    """Size in bytes of the largest single file; a write beyond it raises SIGXFSZ."""
    open_files: int = 256
    """Open file descriptors of one process; beyond it opening fails with EMFILE."""
    box_bytes: int = 67108864
    """Size in bytes of the writable /box; beyond it writes fail with ENOSPC."""
    box_files: int = 4096
    """Files and folders in /box; beyond it creating one fails with ENOSPC."""
    cpus: float = 1.0
    """Processors that the stage may use at a time, on average over 0.1 s; 0.5 is half of one."""
    stack_bytes: int = 8388608
    """Size in bytes of the stack of the main thread; deeper recursion raises SIGSEGV. Its pages count as
    memory."""


class CompileLimits(RunLimits):
    """Limits of the compile stage."""

    wall_time_s: float = 60.0
    """Wall time in seconds."""
    cpu_time_s: float = 60.0
    """CPU time in seconds of all processes of the stage together."""
    memory_bytes: int = 1073741824
    """Memory in bytes of all processes of the stage and of its tmpfs mounts; there is no swap."""
    processes: int = 128
    """Processes and threads at a time; beyond it fork and clone fail with EAGAIN."""
    file_size_bytes: int = 134217728
    """Size in bytes of the largest single file; a write beyond it raises SIGXFSZ."""
    box_bytes: int = 268435456
    """Size in bytes of the writable /box; beyond it writes fail with ENOSPC."""
    box_files: int = 16384
    """Files and folders in /box; beyond it creating one fails with ENOSPC."""


class CheckerComparison(WireModel):
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
    files: Sequence[File] = ()
    """Files of the checker, which the program that is checked does not see. They have `content` or `from`, as
    those of the request. None is called `input`, `output` or `answer`."""
    compile: str | Sequence[str] | None = None
    """Command that compiles the checker, once for all cases."""
    run: str | Sequence[str]
    """Command that runs the checker."""
    compile_limits: CompileLimits = CompileLimits()
    """Limits of compiling the checker."""
    limits: RunLimits = RunLimits()
    """Limits of one run of the checker."""


class DependenciesLimits(OutputLimits):
    """Limits of evaluating and building a set of dependencies."""

    wall_time_s: float = 300.0
    """Wall time in seconds of evaluation and build together."""
    memory_bytes: int = 2147483648
    """Memory in bytes of all processes of the evaluation or the build."""


class Limits(WireModel):
    """Limits of a submission, by stage."""

    dependencies: DependenciesLimits = DependenciesLimits()
    """Limits of installing the dependencies, unless they are installed already."""
    compile: CompileLimits = CompileLimits()
    """Limits of the compile stage, if the request has one."""
    run: RunLimits = RunLimits()
    """Limits of the run of each test case."""


class SubmissionRequest(WireModel):
    """A request to run a program: files, dependencies, commands, test cases and limits.

    The files are placed below /box, `compile` runs once, and `run` runs for each test case in a fresh copy of
    the box after `compile`. The working directory is /box. There is no network.
    """

    id: str | None = None
    """Id of the submission, by which it is read afterwards. A client that makes it can send the request again
    safely: the same id with the same content is one submission. Without it the server makes a UUID."""
    language: str | None = None
    """Name of a preset of `GET /languages`, such as `cpp`. It gives `dependencies`, `compile` and `run` if
    the request does not. Its source is the file with the name that the preset expects, else the first of
    `files` with one of its suffixes, else the first. The stored request has what the preset gave."""
    files: Sequence[File] = ()
    """Files below /box: sources, data. All of them together are bounded by the size of the request."""
    dependencies: Dependencies | None = None
    """Packages that the program needs, installed once and then kept. Without it the program sees the base
    environment: bash, coreutils and the like."""
    package_set: str | None = None
    """Name of the package set from which the packages are taken, such as `debian-13`. Without it that is the
    one which the operator has put first. A name that is not offered is refused, with the names that are."""
    compile: str | Sequence[str] | None = None
    """Command that prepares the box, such as `g++ -O2 -o main main.cpp`. A text is a script, run as
    `bash -c SCRIPT compile`; a list is an argument vector, executed without a shell. It runs once, before the
    test cases and within `limits.compile`. If it does not exit with 0, the outcome is `compile_failed` and no
    test case runs."""
    run: str | Sequence[str] | None = None
    """Command that runs for each test case, within `limits.run`. A text is a script, run as
    `bash -c SCRIPT run ARGS…`, in which `"$@"` are the arguments of the test case; a list is an argument
    vector, executed without a shell, to which they are appended. Either it or `language` is required."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of `compile` and of `run`. They override those of the environment, such as PATH.
    They do not reach the build of the dependencies, nor a checker."""
    test_cases: Sequence[TestCase] = ()
    """Test cases, which run one after the other in this order. Without any, `run` runs once, with empty
    input."""
    comparison: Annotated[
        LineComparison
        | ExactComparison
        | TokenComparison
        | FloatComparison
        | CheckerComparison
        | dict[str, Any],
        Field(union_mode="left_to_right"),
    ] = LineComparison()
    """How the standard output of a test case is compared with its `expected_output`: `lines` by default,
    which ignores white space at the ends of lines and of the output."""
    stop_at_first_failure: bool = False
    """Whether the test cases after the first that is not accepted do not run; their verdict is `not_run`."""
    outputs: Sequence[str] = ()
    """Files below /box to be sent back after each test case, such as `plot.png`, `out/*.csv`, `logs/**`.
    Files of the request that match come back as well."""
    limits: Limits = Limits()
    """Limits of each stage. A limit that is not given has its default."""
    tags: Sequence[str] = ()
    """Tags such as `course=42`, by which lists can be filtered. They have no other effect."""
    callback_url: str | None = None
    """URL that receives a POST when the submission ends. Its host and port must be allowed by the operator;
    see docs/http.md, Webhooks."""
    callback_answer: bool = False
    """Whether the POST to `callback_url` has the whole answer, without the contents of output files, instead
    of a summary. What hidden test cases printed is left out."""


class DependenciesStage(WireModel):
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


class StageResult(WireModel):
    """Output and cost of one program; exactly one of `exit_code` and `signal` is set after it ran."""

    stdout: str = ""
    """Standard output, in the encoding `encoding`."""
    stderr: str = ""
    """Standard error, in the encoding `encoding`."""
    encoding: Literal["utf8", "base64"] | str = "utf8"
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

    cached: bool = False
    """Whether the same files were compiled before in the same way; output and cost are then of that time."""


class CheckerStage(StageResult):
    """Result of one run of the checker, whose output is its comment on the output of a test case."""


class OutputFile(WireModel):
    """A regular file that the request asked for, with its content or the reason why it is left out."""

    name: str
    """Path of the file, relative to /box."""
    size_bytes: int
    """Size of the file in bytes."""
    media_type: str
    """Media type, guessed from the name."""
    content: str | None = None
    """Content in base64; None if it is left out."""
    omitted: Literal["output_file_bytes", "answer_bytes"] | str | None = None
    """Limit for which the content is left out: of one output file, or of all output in the answer."""


class RunStage(StageResult):
    """Result of one test case."""

    verdict: Verdict | None = None
    """Result as one word; None only for submissions of versions that had no verdicts.

    `accepted`: exit code 0 within the limits, and the output is right or not compared. `wrong_output`: exit
    code 0, but the output is not right. `time_limit`: `cpu_time_s` or `wall_time_s` was exceeded.
    `memory_limit`: `memory_bytes`. `output_limit`: `stdout_bytes` or `stderr_bytes`. `runtime_error`: another
    exit code, a signal or another limit. `not_run`: an earlier case failed (`stop_at_first_failure`).
    `checker_error`: the checker failed.
    """
    score: float | None = None
    """Points that the case scored; None if the request gives it no `points`."""
    checker: CheckerStage | None = None
    """Run of the checker; None if there is none, or the program did not succeed."""
    hidden: bool = False
    """Whether the reader is not shown what the program printed, since the test case is hidden."""
    passed: bool | None = None
    """Whether the program succeeded with the expected output: false also if the output is right but the exit
    code is not 0 or a limit was exceeded. None if the request neither expects an output nor has a checker."""
    outputs: Sequence[OutputFile] = ()
    """Output files, in the order of the request's patterns, then by name. If a file or a content is left
    out, `truncated` is true."""


class FieldError(WireModel):
    """One error of a request."""

    field: str
    """Path of the field, such as `limits.run.wall_time_s` or `files.0.name`; empty for the whole request."""
    message: str
    """Reason of the error, for people."""
    limit: float | int | str | None = None
    """Limit that the field violates, such as its largest value; None if there is none."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Answer(WireModel):
    """A submission as clients see it."""

    id: str
    """Id of the submission."""
    status: Status
    """Progress: `queued`, `started` (a worker has it), `dependencies_installed`, `compiled` (its program
    runs), or an end that never changes: `finished`, `cancelled`, `rejected`."""
    attempt: int = 1
    """Number of the present or last attempt, from 1."""
    created_at: str
    """Append time of the request: RFC 3339, UTC, with milliseconds."""
    finished_at: str | None = None
    """Append time of the last event: RFC 3339, UTC, with milliseconds; None until the status is final."""
    outcome: Outcome | None = None
    """Outcome of a finished submission; None until then."""
    dependencies: DependenciesStage | None = None
    """Result of installing the dependencies; None until then."""
    compile: CompileStage | None = None
    """Result of the compile stage; None until then, or if the request has no `compile`."""
    run: Sequence[RunStage] = ()
    """Results of the test cases, in their order. None ran if it is empty."""
    score: float | None = None
    """Sum of the scores of the test cases; None if the request gives none of them `points`."""
    error: str | None = None
    """Description of the failure if the outcome is `internal_error`."""
    errors: Sequence[FieldError] = ()
    """Errors of the request if the submission was rejected."""


class BuildStep(WireModel):
    """The present step of the build of an environment."""

    stage: Literal["evaluating", "resolving", "fetching", "unpacking", "building", "publishing"] | str
    """Stage of the build: `evaluating` (an expression becomes a list of packages), `resolving` (packages of
    PyPI or npm become a list of archives), `fetching` (archives are downloaded), `unpacking` (archives that
    the host has not unpacked before), `building` (the environment is made of them), `publishing` (it is
    copied into the binary cache). Stages begin in this order, and those without work are left out. `fetching`
    and `unpacking` alternate, since archives are unpacked while others are downloaded."""
    done: int = 0
    """Number of archives of this stage that are finished; 0 if the stage does not count."""
    total: int = 0
    """Number of archives of this stage; 0 if the stage does not count."""

    def __str__(self) -> str:
        """Return the step for people, such as `fetching 12 of 55`, or `building`."""
        return f"{self.stage} {self.done} of {self.total}" if self.total else str(self.stage)


class SubmissionWait(WireModel):
    """The reason why the program of a submission does not run yet."""

    reason: Literal["worker", "environment"] | str
    """`worker`: no worker has started it. `environment`: a worker has, and its environment is being built."""
    before: int | None = None
    """Number of submissions that go before it, as far as this node knows; null while it waits for its
    environment."""
    estimate_s: float | None = None
    """Estimated time until a worker starts it, in seconds, from the starts of the last minute; null if there
    were none, if the oldest submission began to wait less than 0.5 s ago, and while it waits for its
    environment."""
    step: BuildStep | None = None
    """Step that the build of its environment has reached; left out while none is known, and while the
    submission waits for a worker."""


class SubmissionShown(Answer):
    """A submission, and what it waits for."""

    waiting: SubmissionWait | None = None
    """Reason why its program does not run yet; left out if it runs or the submission has ended."""


class Listed(WireModel):
    """Summary of a submission, as lists show it."""

    id: str
    """Id of the submission."""
    status: Status
    """Progress, as in the submission itself."""
    attempt: int
    """Number of the current attempt, from 1."""
    created_at: str
    """Time of the request, RFC 3339."""
    finished_at: str | None
    """Time of the end, RFC 3339; null until the submission has ended."""
    outcome: Outcome | None
    """Outcome of a finished submission; null for all others."""
    tags: Sequence[str] = ()
    """Tags of the request, by which lists can be filtered."""
    owner: str | None = None
    """Id of the API key that made the submission; null if it was made without a key."""


class SubmissionPage(WireModel):
    """Page of a list of submissions, newest first."""

    submissions: Sequence[Listed]
    """Summaries of the submissions on this page."""
    next: str | None
    """Parameter `cursor` of the next page; null on the last page."""


class Problem(WireModel):
    """Error response in the format of RFC 9457."""

    type: str
    """URI that identifies the kind of error; its last part is stable, such as `unknown-submission`."""
    title: str
    """Reason phrase of the HTTP status."""
    status: int
    """HTTP status of the response."""
    detail: str
    """Explanation of this error, and what to do about it."""
    errors: Sequence[FieldError] = []
    """Invalid fields of the request or its parameters, if the error concerns any."""


class BatchItem(WireModel):
    """Result of one request of a batch: a `submission` if it was accepted, otherwise a `problem`."""

    status: int
    """HTTP status that the request would have received alone."""
    submission: Answer | None = None
    """The submission, if the request was accepted."""
    problem: Problem | None = None
    """The error, if the request was refused."""


class BatchResults(WireModel):
    """Results of a batch, in the order of its requests."""

    results: Sequence[BatchItem]
    """One result for each request, in their order."""


class EventPayload(WireModel):
    """Data of a server-sent event: a fact of the log, or what the submission waits for (`waiting`)."""

    time: str
    """Time of the fact by the clock of the log, of `waiting` by the clock of this node; RFC 3339."""
    status: Status | None
    """Status of the submission after this fact; null if there is no submission yet."""
    refused: str | None
    """Reason why the fact changed nothing, such as an earlier attempt; null if it was accepted."""
    fact: dict[str, Any]
    """Fields of the fact, without the request and the results of its stages. The event `waiting` is no fact;
    these are then the fields of `SubmissionWait`."""


class OutputChunk(WireModel):
    """A piece of the output of one program on one stream."""

    attempt: int
    """Number of the attempt that printed the piece, from 1; a new attempt starts from the beginning."""
    worker: str
    """Two workers may run the same attempt; each numbers its own pieces."""
    stage: Literal["compile", "run"] | str
    """Stage that printed the piece."""
    case: int | None = None
    """Index of the test case, from 0; None while compiling."""
    stream: Literal["stdout", "stderr"] | str
    """Stream that the piece is of."""
    sequence: int
    """Number of the piece within the worker's attempt, from 0; a gap means that pieces are missing."""
    offset_bytes: int
    """Bytes of this stream of the stage before this piece."""
    text: str
    """Printed bytes as text; a character is never split."""
    encoding: Literal["utf8", "base64"] | str = "utf8"
    """Encoding of `text`: base64 if its bytes are not UTF-8, or if JSON's escapes would double them."""


class Builds(WireModel):
    """Environments that submissions need and that are not built yet."""

    waiting: int
    """Builds that no cache builder has started."""
    running: int
    """Builds that a cache builder has started."""


class Percentiles(WireModel):
    """Percentiles of durations in seconds."""

    p50: float
    """Duration that half of the values do not exceed."""
    p99: float
    """Duration that 99 % of the values do not exceed."""


class LastMinute(WireModel):
    """Statistics of the last minute, from the events that this node has consumed."""

    finished: int
    """Submissions that ended, with any status."""
    finished_per_s: float
    """Mean rate at which submissions ended."""
    outcomes: dict[str, int]
    """Number of ended submissions by outcome, or by status if they have none (`cancelled`, `rejected`)."""
    queue_wait_s: Percentiles | None
    """Time from a request to its first start by a worker; null if none was started."""
    answer_s: Percentiles | None
    """Time from a request to its end; null if none ended."""


class System(WireModel):
    """State of the system, as one ingest node knows it."""

    time: str
    """Time of the overview, RFC 3339."""
    unfinished: dict[Status, int]
    """Number of submissions by status, for every status that is not final."""
    waiting: int
    """Queued submissions, which no worker has started."""
    running: int
    """Submissions that a worker has started, without those that have ended or wait for their environment."""
    waiting_for_environment: int = 0
    """Submissions that a worker has started and whose environment is being built."""
    oldest_waiting_s: float = 0.0
    """Longest time for which a submission that waits now has waited for a worker, in seconds; 0 if none
    waits."""
    running_by_worker: dict[str, int]
    """Running submissions by worker, without workers that run none."""
    workers: int
    """Workers that consume the queue; 0 if the broker does not answer."""
    leases: int
    """Running attempts and builds; each is retried by another process if its lease expires."""
    builds: Builds
    """Builds of environments that are queued or running."""
    last_minute: LastMinute
    """Statistics of the last minute."""


class Language(WireModel):
    """A preset: what a request with `language` takes for the fields that it does not set."""

    name: str
    """Value of `language` in requests."""
    title: str
    """Title for people, with the version."""
    version: str
    """Version of the compiler or interpreter in the package set."""
    packages: Sequence[str]
    """Packages of the environment; empty for the base environment."""
    source_file: str
    """Name of the source file. If no file of the request has this name, the first file is the source."""
    suffixes: Sequence[str]
    """Suffixes of file names, such as `.cpp`, for which clients choose this language; no other language has
    them."""
    compile: str | None
    """Script that compiles the program, or null. In it and in `run`, `{source}` stands for the name of the
    source file, quoted for the shell, and `{stem}` for the same without its suffix. Sizes in it fit the
    default limits of the language, and in a request its own limits."""
    run: str
    """Script that runs the program; `"$@"` in it are the arguments of the test case."""
    hello: str
    """Program that greets the name on its standard input, or the world."""
    prebuilt: bool
    """Whether its environment is built before a submission needs it: the operator has listed it in
    `ENVICUTOR_LANGUAGES`, or it needs nothing but the base environment."""


class LanguageList(WireModel):
    """All languages whose packages are in the default package set, sorted by name."""

    package_set: str
    """Pin of the default package set."""
    languages: Sequence[Language]
    """Presets that `language` of a request may name."""
