"""Expressions to data: an unprivileged Nix without a store, in the sandbox, says which packages are meant."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nix import resolve
from nix.contents import FilePath, SmallFile
from nix.errors import CacheError, DependenciesError, LimitError
from nix.package_set import OpenPackageSet
from nix.runner import Ran, Runner

WALL_TIME_S = 30.0
"""An honest expression takes 0.3 s; the limits of a request count where they are lower."""
MEMORY_BYTES = 1 << 30
"""An honest expression takes 0.1 GiB."""
EXPRESSION_BYTES = 256 << 10
ENVIRONMENT_BYTES = 64 << 10
"""All variables together; Linux gives a program 128 KiB for one."""
FILES = 64
FILES_BYTES = 256 << 10
"""All small files together."""
FILE_ALONE = re.compile(r"/usr/share/envicutor/([0-9a-f]{32}-[\w+.-]*)", re.ASCII)
"""Where pkgs/default.nix has files that are not given a place, such as those of writeText."""

MISSING = re.compile(r"(?:attribute|undefined variable|called without required argument) '([^']+)'")
"""What Nix says of a name that there is not."""

# What the user's file is called in messages. It is a file of its own: nothing is spliced into other text.
EXPRESSION = "dependencies.nix"
BOX = "/box/"
COMMAND = (
    "env",
    "HOME=/tmp",
    "nix-instantiate",
    "--store",
    "dummy://",
    "--option",
    "restrict-eval",
    "true",
    "--option",
    "allow-import-from-derivation",
    "false",
    "-I",
    "pkgs=/pkgs",
    "-I",
    "nixpkgs=/pkgs",
    "-I",
    f"{BOX}{EXPRESSION}",
    "--eval",
    "--strict",
    "--json",
    "--expr",
    f"(import /pkgs {{ }}).evaluate (import {BOX}{EXPRESSION})",
)

DebianName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]*$", max_length=200)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=ENVIRONMENT_BYTES)]


class Evaluated(BaseModel):
    """What an expression comes to. It was made by the user's code: nothing else may be in it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    packages: Annotated[list[DebianName], Field(max_length=2000)]
    variables: Annotated[dict[VariableName, VariableValue], Field(max_length=256)]
    files: Annotated[dict[FilePath, SmallFile], Field(max_length=FILES)] = Field(default_factory=dict)
    """By path below /usr. Package sets that were made by earlier versions give none."""


async def evaluate(
    expression: str,
    package_set: OpenPackageSet,
    runner: Runner,
    wall_time_s: float,
    memory_bytes: int,
) -> Evaluated:
    """Evaluate an expression against a package set.

    Raises DependenciesError with Nix's own message or what is wrong with the result, LimitError.
    """
    # The last line needs its end, or Nix does not show it in errors.
    text = (expression + "\n").encode(errors="replace")
    if len(text) > EXPRESSION_BYTES:
        raise DependenciesError(f"the expression is larger than {EXPRESSION_BYTES} bytes")
    wall_time_s, memory_bytes = min(wall_time_s, WALL_TIME_S), min(memory_bytes, MEMORY_BYTES)
    ran = await runner.sandboxed(
        COMMAND,
        mounts={"/pkgs": package_set.expressions},
        files={EXPRESSION: text},
        wall_time_s=wall_time_s,
        memory_bytes=memory_bytes,
    )
    if ran.limit_exceeded:
        limits = {"wall_time_s": f"{wall_time_s:g}", "memory_bytes": f"{memory_bytes}"}
        limit = f"{ran.limit_exceeded} = {limits.get(ran.limit_exceeded, 'its maximum')}"
        raise LimitError(f"evaluating the expression hit the limit {limit}")
    # JSON is printed in part before an error: only success says that it is whole.
    if ran.exit_code != 0:
        raise _explain(ran, package_set)
    return validate(ran.stdout)


def validate(result: bytes) -> Evaluated:
    """Read what an evaluation printed. Raises DependenciesError if it is not plain data within its bounds."""
    try:
        evaluated = Evaluated.model_validate_json(result)
    except ValidationError as error:
        problems = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in error.errors()[:10])
        raise DependenciesError(f"the expression's result is not valid: {problems}") from error
    variables = sum(len(name) + len(value.encode()) for name, value in evaluated.variables.items())
    if variables > ENVIRONMENT_BYTES:
        raise DependenciesError(f"the expression's variables are larger than {ENVIRONMENT_BYTES} bytes")
    _check_files(evaluated)
    return evaluated


def _check_files(evaluated: Evaluated) -> None:
    files = evaluated.files
    if sum(len(file.text.encode()) for file in files.values()) > FILES_BYTES:
        raise DependenciesError(f"the expression's files are larger than {FILES_BYTES} bytes together")
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    if both := files.keys() & folders:
        raise DependenciesError(f"{min(both)} cannot be a file and a folder")
    there = {found for path in files for found in FILE_ALONE.findall(f"/usr/{path}")}
    texts = evaluated.variables | {path: file.text for path, file in files.items()}
    for name, text in texts.items():
        for file in FILE_ALONE.findall(text):
            # A name ends where the text says nothing about it, such as before a full stop.
            if not any(file.startswith(known) for known in there):
                raise DependenciesError(
                    f"{name} mentions the file {file[33:]}, which is no part of the environment: "
                    "add it to `packages` as well"
                )


def _place(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location)) or "result"


def _explain(ran: Ran, package_set: OpenPackageSet) -> Exception:
    """Tell the user's errors, which Nix explains, from a Nix that did not even start."""
    message = re.sub(r"\x1b\[[0-9;]*m|\(use '--show-trace' .*\)", "", ran.stderr.decode(errors="replace"))
    _, found, explanation = message.replace(f"{BOX}{EXPRESSION}", EXPRESSION).partition("error: ")
    if found:
        return DependenciesError(explanation.strip() + _suggestions(explanation, package_set))
    if ran.signal:
        return DependenciesError(
            f"evaluating the expression ended with {ran.signal}, as endless recursion does"
        )
    return CacheError(f"nix-instantiate failed with {ran.exit_code}: {message.strip()}")


def _suggestions(explanation: str, package_set: OpenPackageSet) -> str:
    """Nix looks for similar names in one set; the package may be in another."""
    missing = MISSING.search(explanation.split("\n", 1)[0])
    near = missing and resolve.nearest(missing[1], package_set.index, package_set.names)
    return f"\nSimilar packages: {', '.join(near)}" if near else ""
