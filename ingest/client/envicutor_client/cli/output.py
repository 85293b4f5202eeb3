"""Output of commands: notes and errors on standard error, results on standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

USAGE = 2
"""Exit code of a command that was called wrongly, or with a wrong setting."""


def program_name() -> str:
    """Return the name of the command that runs: `envicutor-client`, or `envicutor` of a server."""
    name = Path(sys.argv[0]).name
    return name if name == "envicutor-client" else "envicutor"


def print_note(message: str) -> None:
    """Print a line of progress, or a note, to standard error."""
    typer.echo(f"{program_name()}: {message}", err=True)


def reason(error: Exception) -> str:
    """Return why something failed, for people: an OSError names its file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def fail(message: str, exit_code: int) -> NoReturn:
    """Print an error to standard error, and exit."""
    print_note(message)
    raise typer.Exit(exit_code)


@contextmanager
def broken_pipe_ignored() -> Iterator[None]:
    """Ignore that the reader of standard output closes the pipe, so that the exit code stays."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes its buffer at the end of the process, and would fail on the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
