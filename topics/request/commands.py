"""Commands of a request: scripts and argument vectors."""

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag


def without_nul(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return `texts`, which become arguments or variables of a process.

    Raises:
        ValueError: one contains NUL, which ends such a text in C.
    """
    if any("\0" in text for text in texts):
        raise ValueError("must not contain NUL")
    return texts


def _script(script: str) -> str:
    return without_nul((script,))[0]


Script = Annotated[str, Field(min_length=1), AfterValidator(_script), Tag("(script)")]
Argv = Annotated[
    tuple[str, ...], Field(min_length=1, fail_fast=True), AfterValidator(without_nul), Tag("(argv)")
]
ShellOrArgv = Annotated[
    Script | Argv, Discriminator(lambda value: "(script)" if isinstance(value, str) else "(argv)")
]
"""A text is a script, run as `bash -c SCRIPT NAME ARGS…`, in which `"$@"` are the arguments. A list is an
argument vector, executed without a shell, to which the arguments are appended."""
