"""Output of commands of the server: progress and errors on standard error.

The client's commands have functions of their own (`envicutor_client.cli.output`). Roles do not import
the client, which would cost each of them memory.
"""

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
