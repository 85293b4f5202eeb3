"""Output of commands: progress and errors on standard error, results on standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from confluent_kafka import KafkaException

USAGE = 2
"""Exit code of a command that was called wrongly, or with a wrong setting."""


def print_note(message: str) -> None:
    """Print a line of progress, or a note, to standard error."""
    typer.echo(f"envicutor: {message}", err=True)


def reason(error: Exception) -> str:
    """Return why something failed, for people: an OSError names its file, a Kafka error has its text."""
    if isinstance(error, KafkaException):
        return str(error.args[0].str())
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def fail(message: str, exit_code: int) -> NoReturn:
    """Print an error to standard error, and exit."""
    typer.echo(f"envicutor: {message}", err=True)
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
