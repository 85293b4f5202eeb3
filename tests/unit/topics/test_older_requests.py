"""The older file convention: refused in new requests, and read as before in requests that were accepted."""

import json
from typing import Any

import pytest

from tests.unit.topics.test_request import file, parse, refused
from topics.request.model import BASE, Dependencies, SubmissionRequest

OLDER = [file("cutor.nix", "[ 1 ]"), file("cutor-compile.sh", "make"), file("cutor-run.sh", "./a")]
INSTEAD = {
    "run": "server does not read cutor-run.sh: give the script as `run`",
    "compile": "server does not read cutor-compile.sh: give the script as `compile`",
    "dependencies": "server does not read cutor.nix: give the expression as `dependencies`",
}


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"run": None}, ["run", "compile", "dependencies"]),
        ({"dependencies": {"packages": []}}, ["compile"]),
        ({"run": None, "compile": "cc"}, ["run", "dependencies"]),
    ],
)
def test_a_file_in_place_of_a_field_is_refused_with_what_to_do(
    fields: dict[str, Any], missing: list[str]
) -> None:
    errors = refused(files=OLDER, **fields)
    assert [error.field for error in errors] == missing
    for error in errors:
        assert INSTEAD[error.field] in error.message
        assert "`envicutor submit DIR`" in error.message


def test_a_file_beside_its_field_is_a_file() -> None:
    request = parse(run=["./b"], compile="cc", dependencies={"packages": []}, files=OLDER)
    assert (request.environment, request.compile, request.run) == (BASE, "cc", ("./b",))
    assert request.ordinary() == request
    empty = [file(name, "") for name in ("shell.nix", "cutor-compile.sh")]
    assert parse(files=empty).ordinary() == parse(files=empty)


def accepted_before(**fields: object) -> SubmissionRequest:
    """A request as the log of an earlier release has it."""
    return SubmissionRequest.model_validate_json(json.dumps(fields))


def test_what_was_accepted_before_with_files_in_place_of_fields_still_means_the_same() -> None:
    request = accepted_before(files=OLDER)
    assert request.run is None, "it is stored as it was sent"
    made = request.ordinary()
    assert (made.environment, made.compile, made.run) == (Dependencies(nix="[ 1 ]"), "make", "./a")
    assert made.files == request.files
    mixed = accepted_before(run=["./b"], files=OLDER).ordinary()
    assert (mixed.environment, mixed.compile, mixed.run) == (Dependencies(nix="[ 1 ]"), "make", ("./b",))


def test_shell_nix_counts_where_there_is_no_cutor_nix() -> None:
    shell = file("shell.nix", b"[ 2 ]".hex(), "hex")
    assert accepted_before(run="a", files=[shell]).ordinary().environment == Dependencies(nix="[ 2 ]")
    both = accepted_before(run="a", files=[shell, file("cutor.nix", "[ 1 ]")])
    assert both.ordinary().environment == Dependencies(nix="[ 1 ]")
