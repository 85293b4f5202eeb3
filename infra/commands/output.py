"""How commands speak to people: progress and errors on standard error, answers on standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 200
"""Columns where nobody says how many there are."""


def say(message: str) -> None:
    """Tell what is going on."""
    typer.echo(f"envicutor: {message}", err=True)


def reason(error: Exception) -> str:
    """Return why something failed, for people: an OSError names its file, a Kafka error has its text."""
    if isinstance(error, KafkaException):
        return str(error.args[0].str())
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def fail(message: str, exit_code: int) -> NoReturn:
    """Tell what went wrong, and exit."""
    typer.echo(f"envicutor: {message}", err=True)
    raise typer.Exit(exit_code)


@contextmanager
def for_whoever_reads() -> Iterator[None]:
    """Print to standard output; a reader that has enough changes no exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer must go somewhere at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def plain_table() -> Table:
    """Without lines; columns and rows are still to come."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def show_table(table: Table) -> None:
    """Print it; what stands in brackets is text."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(highlight=False, markup=False, width=width).print(table)
