"""Requests for submissions, in the same form over HTTP and on the topic `submissions.requests`."""

import base64
import binascii
from typing import Annotated, Literal, Self

import pydantic
from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    field_validator,
    model_validator,
)

from topics.model import Model
from topics.request.callback_urls import check_callback_url
from topics.request.file_names import check_file_names
from topics.request.limits import Limits, MiB
from topics.request.output_patterns import OUTPUT_PATTERNS, check_output_pattern
from topics.request.pins import PIN_CHARACTERS, PINS, normal_npm, normal_pypi

REQUEST_BYTES_CEILING = 4 * MiB
ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
"""Regular expression of a submission's id, for JSON Schema as well as for Python."""
SubmissionId = Annotated[str, Field(pattern=ID_PATTERN)]
"""Id of a submission, made by the client or by Envicutor; the key of all its records."""

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


class File(Model):
    """A file of the submission, placed below /box."""

    name: str
    content: str
    encoding: Literal["utf8", "base64", "hex"] = "utf8"

    @model_validator(mode="after")
    def _decodable(self) -> Self:
        try:
            self.data()
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"content of {self.name!r} is not valid {self.encoding}: {error}") from None
        return self

    def data(self) -> bytes:
        """Return the content as bytes.

        Raises:
            ValueError: the content is not valid in its encoding; a validated file has no such content.
        """
        match self.encoding:
            case "utf8":
                return self.content.encode()
            case "base64":
                return base64.b64decode(self.content, validate=True)
            case "hex":
                return bytes.fromhex(self.content)


Pins = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=PIN_CHARACTERS)], ...],
    # An empty tuple is left out, so that events of versions without pins are folded to the same bytes.
    Field(max_length=PINS, fail_fast=True, exclude_if=lambda pins: not pins),
]
"""Packages of another registry, one version of each."""


class Dependencies(Model):
    """Packages to install: names of Debian packages or a Nix expression, and packages of PyPI and npm."""

    packages: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
            Field(max_length=1000, fail_fast=True),
        ]
        | None
    ) = None
    nix: Annotated[str, Field(min_length=1)] | None = None
    pypi: Pins = ()
    """Packages of PyPI, such as `requests==2.32.5`; they add python3. They are sorted and in one spelling."""
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


class TestCase(Model):
    """One run of the program with its own input."""

    __test__ = False  # pytest would collect the class because of its name

    input: str = ""
    args: Annotated[tuple[str, ...], Field(fail_fast=True)] = ()
    expected_output: str | None = None

    @field_validator("args")
    @classmethod
    def _no_nul(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        return _without_nul(args)


Program = Annotated[
    Annotated[str, Field(min_length=1), pydantic.Tag("(script)")]
    | Annotated[tuple[str, ...], Field(min_length=1, fail_fast=True), pydantic.Tag("(argv)")],
    Discriminator(lambda value: "(script)" if isinstance(value, str) else "(argv)"),
]
"""A script, run as `bash -c SCRIPT run ARGS…`, or an argv, executed without a shell."""


VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""

TAGS = 16
"""Tags of one request."""
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/=@+-]{1,64}$")]

OutputPattern = Annotated[str, AfterValidator(check_output_pattern)]
"""Pattern of paths: `*` and `?` match within a component, a component `**` matches any number of folders."""


class SubmissionRequest(Model):
    """A request to run a program: files, dependencies, commands, test cases and limits."""

    id: SubmissionId | None = None
    files: Annotated[tuple[File, ...], Field(max_length=4096, fail_fast=True)] = ()
    dependencies: Dependencies | None = None
    compile: Program | None = None
    run: Program | None = None
    env: Annotated[dict[VariableName, str], Field(fail_fast=True)] = Field(default_factory=dict)
    test_cases: Annotated[tuple[TestCase, ...], Field(max_length=1000, fail_fast=True)] = ()
    outputs: Annotated[tuple[OutputPattern, ...], Field(max_length=OUTPUT_PATTERNS, fail_fast=True)] = ()
    """Files below /box to be sent back after each test case, such as `plot.png`, `out/*.csv`, `logs/**`."""
    limits: Limits = Limits()
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

    @field_validator("files")
    @classmethod
    def _file_names(cls, files: tuple[File, ...]) -> tuple[File, ...]:
        check_file_names([file.name for file in files])
        return files

    @field_validator("compile", "run")
    @classmethod
    def _script_without_nul(cls, script: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if script is not None:
            _without_nul((script,) if isinstance(script, str) else script)
        return script

    @field_validator("env")
    @classmethod
    def _env_without_nul(cls, env: dict[str, str]) -> dict[str, str]:
        _without_nul(tuple(env.values()))
        return env

    @model_validator(mode="after")
    def _runnable(self) -> Self:
        if not self.run and not self.older_file("run"):
            raise ValueError("run is missing: give `run`")
        return self

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


def _without_nul(texts: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in text for text in texts):
        raise ValueError("must not contain NUL")
    return texts
