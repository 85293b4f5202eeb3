"""The result of an expression: plain data from untrusted code, so that each part is validated."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nix.contents import FilePath, SmallFile
from nix.errors import DependenciesError

ENVIRONMENT_BYTES = 64 << 10
"""Bound of all variables together; Linux bounds a single one at 128 KiB."""
PACKAGES = 2000
VARIABLES = 256
FILES = 64
FILES_BYTES = 256 << 10
"""Bound of all small files together."""
UNPLACED_FILE = re.compile(r"/usr/share/envicutor/([0-9a-f]{32}-[\w+.-]*)", re.ASCII)
"""Paths that pkgs/default.nix gives to files without a place of their own, such as those of writeText."""
WRONG = "the expression's result is not valid"

DebianName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]*$", max_length=200)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=ENVIRONMENT_BYTES)]


class Evaluated(BaseModel):
    """The result of an expression. Untrusted code made it, so that unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    packages: Annotated[list[DebianName], Field(max_length=PACKAGES)]
    variables: Annotated[dict[VariableName, VariableValue], Field(max_length=VARIABLES)]
    files: Annotated[dict[FilePath, SmallFile], Field(max_length=FILES)] = Field(default_factory=dict)
    """Small files by path relative to /usr; absent in results of package sets of earlier versions."""


def validate(result: bytes) -> Evaluated:
    """Parse the output of an evaluation.

    Raises:
        DependenciesError: the output is not plain data within its bounds.
    """
    _check_counts(result)
    try:
        evaluated = Evaluated.model_validate_json(result)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)[:10]
        problems = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in errors)
        raise DependenciesError(f"{WRONG}: {problems}") from error
    variables = sum(len(name) + len(value.encode()) for name, value in evaluated.variables.items())
    if variables > ENVIRONMENT_BYTES:
        raise DependenciesError(f"the expression's variables are larger than {ENVIRONMENT_BYTES} bytes")
    _check_files(evaluated)
    return evaluated


def _check_counts(result: bytes) -> None:
    """Refuse large containers before validation: pydantic takes minutes to collect a million errors."""
    try:
        value = json.loads(result)
    except (ValueError, RecursionError) as error:
        raise DependenciesError(f"the expression's result is not JSON: {str(error)[:200]}") from error
    for place, container, limit in _containers(value):
        if isinstance(container, dict | list) and len(container) > limit:
            raise DependenciesError(f"{WRONG}: {place}: {len(container)} entries, and {limit} are the most")


def _containers(value: object) -> Iterator[tuple[str, object, int]]:
    """Yield the name, value and maximum length of each container that pydantic validates."""
    yield "result", value, len(Evaluated.model_fields)
    if isinstance(value, dict):
        yield "packages", value.get("packages"), PACKAGES
        yield "variables", value.get("variables"), VARIABLES
        yield "files", value.get("files"), FILES
        if isinstance(files := value.get("files"), dict):
            for path, file in files.items():
                yield _place(("files", path)), file, len(SmallFile.model_fields)


def _check_files(evaluated: Evaluated) -> None:
    files = evaluated.files
    if sum(len(file.text.encode()) for file in files.values()) > FILES_BYTES:
        raise DependenciesError(f"the expression's files are larger than {FILES_BYTES} bytes together")
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    if both := files.keys() & folders:
        raise DependenciesError(f"{min(both)} cannot be a file and a folder")
    there = {found for path in files for found in UNPLACED_FILE.findall(f"/usr/{path}")}
    texts = evaluated.variables | {path: file.text for path, file in files.items()}
    for name, text in texts.items():
        for file in UNPLACED_FILE.findall(text):
            # The end of a name in a text is unknown: a full stop may belong to it or follow it.
            if not any(file.startswith(known) for known in there):
                raise DependenciesError(
                    f"{name} mentions the file {file[33:]}, which is no part of the environment: "
                    "add it to `packages` as well"
                )


def _place(location: Sequence[int | str]) -> str:
    return ".".join(str(part)[:200] for part in location) or "result"
