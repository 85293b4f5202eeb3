"""Requests for submissions, in the same form over HTTP and on the topic `submissions.requests`."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from topics.model import Model
from topics.request.callback_urls import check_callback_url
from topics.request.cases import LINES, CheckerComparison, Comparison, TestCase
from topics.request.commands import ShellOrArgv, without_nul
from topics.request.file_names import check_file_names
from topics.request.files import TEST_CASES, File, SubmissionId
from topics.request.limits import Limits, MiB
from topics.request.output_patterns import OUTPUT_PATTERNS, check_output_pattern
from topics.request.pins import PIN_CHARACTERS, PINS, normal_npm, normal_pypi

REQUEST_BYTES_CEILING = 4 * MiB

DERIVED_ID_PREFIX = "idempotency-key_"
"""Prefix of ids that are made of an `Idempotency-Key` and its owner. A client may not choose such an id."""

FILES_OF_FIELDS = {
    "run": ("cutor-run.sh",),
    "compile": ("cutor-compile.sh",),
    "dependencies": ("cutor.nix", "shell.nix"),
}
"""The older file convention: the first of these files that is not empty stands for a field that is missing.

`envicutor submit` and the page read it. The server refuses new requests that rely on it, and workers still
run those that it accepted earlier, see `SubmissionRequest.ordinary`.
"""


Pins = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=PIN_CHARACTERS)], ...],
    # An empty tuple is left out, so that events of versions without pins are folded to the same bytes.
    Field(max_length=PINS, fail_fast=True, exclude_if=lambda pins: not pins),
]
"""Packages of another registry, one version of each; see `pypi` for those of requests."""


class Dependencies(Model):
    """Packages to install: names of Debian packages or a Nix expression, and packages of PyPI and npm."""

    packages: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
            Field(max_length=1000, fail_fast=True),
        ]
        | None
    ) = None
    """Names of Debian packages, such as `python3-numpy`, as `GET /packages` finds them. An empty list is the
    base environment."""
    nix: Annotated[str, Field(min_length=1)] | None = None
    """Nix expression instead of `packages`: a list of packages, or `mkShell` with variables and small files,
    such as `with import <pkgs> {}; [ python3 python3Packages.numpy ]`. It is evaluated to data; it builds
    and fetches nothing."""
    pypi: Pins = ()
    """Packages of PyPI, such as `requests==2.32.5`; they add python3. A request may leave the version open,
    as in `pandas` or `pandas>=2`: the stored request then has the newest that can be installed. Pins are
    sorted and in one spelling."""
    npm: Pins = ()
    """Packages of npm, such as `lodash@4.17.21`; they add nodejs."""

    @field_validator("pypi")
    @classmethod
    def _normal_pypi(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        return normal_pypi(pins)

    @field_validator("npm")
    @classmethod
    def _normal_npm(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        return normal_npm(pins)

    @model_validator(mode="after")
    def _one_at_most(self) -> Self:
        if self.packages is not None and self.nix is not None:
            raise ValueError("give either packages or nix")
        if self.packages is None and self.nix is None and not self.pypi and not self.npm:
            raise ValueError("give packages or nix, or packages of pypi or npm")
        return self


BASE = Dependencies(packages=())
"""The base environment alone: bash, coreutils and the like."""


VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""

TAGS = 16
"""Tags of one request."""
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/=@+-]{1,64}$")]

OutputPattern = Annotated[str, AfterValidator(check_output_pattern)]
"""Pattern of paths: `*` and `?` match within a component, a component `**` matches any number of folders."""


LANGUAGE_PATTERN = "^[a-z0-9][a-z0-9.+#-]{0,31}$"
PACKAGE_SET_PATTERN = "^[a-z0-9][a-z0-9.+-]{0,31}$"

Env = Annotated[dict[VariableName, str], Field(fail_fast=True)]


class SubmissionRequest(Model):
    """A request to run a program: files, dependencies, commands, test cases and limits.

    The files are placed below /box, `compile` runs once, and `run` runs for each test case in a fresh copy of
    the box after `compile`. The working directory is /box. There is no network.
    """

    id: SubmissionId | None = None
    """Id of the submission, by which it is read afterwards. A client that makes it can send the request again
    safely: the same id with the same content is one submission. Without it the server makes a UUID."""
    language: Annotated[
        Annotated[str, Field(pattern=LANGUAGE_PATTERN)] | None,
        Field(exclude_if=lambda language: language is None),
    ] = None
    """Name of a preset of `GET /languages`, such as `cpp`. It gives `dependencies`, `compile` and `run` if
    the request does not. Its source is the file with the name that the preset expects, else the first of
    `files` with one of its suffixes, else the first. The stored request has what the preset gave."""
    files: Annotated[tuple[File, ...], Field(max_length=4096, fail_fast=True)] = ()
    """Files below /box: sources, data. All of them together are bounded by the size of the request."""
    dependencies: Dependencies | None = None
    """Packages that the program needs, installed once and then kept. Without it the program sees the base
    environment: bash, coreutils and the like."""
    package_set: Annotated[
        Annotated[str, Field(pattern=PACKAGE_SET_PATTERN)] | None,
        Field(exclude_if=lambda package_set: package_set is None),
    ] = None
    """Name of the package set from which the packages are taken, such as `debian-13`. Without it that is the
    one which the operator has put first. A name that is not offered is refused, with the names that are."""
    compile: ShellOrArgv | None = None
    """Command that prepares the box, such as `g++ -O2 -o main main.cpp`. A text is a script, run as
    `bash -c SCRIPT compile`; a list is an argument vector, executed without a shell. It runs once, before the
    test cases and within `limits.compile`. If it does not exit with 0, the outcome is `compile_failed` and no
    test case runs."""
    run: ShellOrArgv | None = None
    """Command that runs for each test case, within `limits.run`. A text is a script, run as
    `bash -c SCRIPT run ARGS…`, in which `"$@"` are the arguments of the test case; a list is an argument
    vector, executed without a shell, to which they are appended. Either it or `language` is required."""
    env: Env = Field(default_factory=dict)
    """Environment variables of `compile` and of `run`. They override those of the environment, such as PATH.
    They do not reach the build of the dependencies, nor a checker."""
    test_cases: Annotated[tuple[TestCase, ...], Field(max_length=TEST_CASES, fail_fast=True)] = ()
    """Test cases, which run one after the other in this order. Without any, `run` runs once, with empty
    input."""
    comparison: Annotated[Comparison, Field(exclude_if=lambda comparison: comparison == LINES)] = LINES
    """How the standard output of a test case is compared with its `expected_output`: `lines` by default,
    which ignores white space at the ends of lines and of the output."""
    stop_at_first_failure: Annotated[bool, Field(exclude_if=lambda stop: not stop)] = False
    """Whether the test cases after the first that is not accepted do not run; their verdict is `not_run`."""
    outputs: Annotated[tuple[OutputPattern, ...], Field(max_length=OUTPUT_PATTERNS, fail_fast=True)] = ()
    """Files below /box to be sent back after each test case, such as `plot.png`, `out/*.csv`, `logs/**`.
    Files of the request that match come back as well."""
    limits: Limits = Limits()
    """Limits of each stage. A limit that is not given has its default."""
    # No tags are left out, so that events of versions without tags are folded to the same bytes.
    tags: Annotated[
        tuple[Tag, ...], Field(max_length=TAGS, fail_fast=True, exclude_if=lambda tags: not tags)
    ] = ()
    """Tags such as `course=42`, by which lists can be filtered. They have no other effect."""

    callback_url: Annotated[
        Annotated[str, AfterValidator(check_callback_url)] | None, Field(exclude_if=lambda url: url is None)
    ] = None
    """URL that receives a POST when the submission ends. Its host and port must be allowed by the operator;
    see docs/http.md, Webhooks."""
    callback_answer: Annotated[bool, Field(exclude_if=lambda wanted: not wanted)] = False
    """Whether the POST to `callback_url` has the whole answer, without the contents of output files, instead
    of a summary. What hidden test cases printed is left out."""

    @field_validator("files")
    @classmethod
    def _file_names(cls, files: tuple[File, ...]) -> tuple[File, ...]:
        check_file_names([file.name for file in files])
        return files

    @field_validator("env")
    @classmethod
    def _env_without_nul(cls, env: dict[str, str]) -> dict[str, str]:
        without_nul(tuple(env.values()))
        return env

    @model_validator(mode="after")
    def _runnable(self) -> Self:
        if not self.run and not self.language and not self.older_file("run"):
            raise ValueError("run is missing: give `run` or `language`")
        return self

    @model_validator(mode="after")
    def _input_files_exist(self) -> Self:
        names = {file.name for file in self.files}
        for number, case in enumerate(self.test_cases):
            if case.input_file is not None and case.input_file not in names:
                raise ValueError(f"test_cases.{number}.input_file: {case.input_file!r} is not one of `files`")
        return self

    @property
    def checker(self) -> CheckerComparison | None:
        """The checker that decides about outputs, or None if they are compared without one."""
        return self.comparison if isinstance(self.comparison, CheckerComparison) else None

    def older_file(self, field: str) -> File | None:
        """Return the file that gives `field` by the older convention, None if there is none or no need."""
        if getattr(self, field) is not None:
            return None
        names = FILES_OF_FIELDS[field]
        found = {file.name: file for file in self.files if file.name in names and file.content}
        return next((found[name] for name in names if name in found), None)

    def ordinary(self) -> Self:
        """Return the request with all its fields, also if it is one of the older file convention.

        `parse_request` refuses such a request, but it was accepted until 2026-11. One that is not finished
        may stand on the log or in the queue, and runs as it would have then. The log keeps it as it was sent,
        so that it folds to the same bytes.
        """
        texts = {field: file.data().decode() for field in FILES_OF_FIELDS if (file := self.older_file(field))}
        nix = texts.pop("dependencies", None)
        return self.replace(**texts, **({"dependencies": Dependencies(nix=nix)} if nix else {}))

    @property
    def environment(self) -> Dependencies:
        """The dependencies; none given means the base environment."""
        return self.dependencies or BASE

    @property
    def cases(self) -> tuple[TestCase, ...]:
        """The test cases; none given means one with empty input."""
        return self.test_cases or (TestCase(),)
