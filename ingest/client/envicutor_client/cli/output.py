"""Output of commands: notes and errors on standard error, results on standard output."""

import os
import shutil
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


class _StatusLine:
    """Line of the terminal on standard error that the next one replaces."""

    def __init__(self) -> None:
        self._length = 0
        """Number of characters that stand on the line; 0 if there is no such line."""

    def show(self, text: str) -> None:
        """Replace the line. Of a text that is longer than the terminal is wide the end is shown.

        A wrapped line would stay, and the end is what changes.
        """
        width = shutil.get_terminal_size().columns - 1
        if len(text) > width:
            text = f"…{text[1 - width :]}"
        typer.echo(f"\r{text.ljust(self._length)}", err=True, nl=False)
        self._length = len(text)

    def end(self) -> None:
        """Leave the line as it is, and go to the next one."""
        if self._length:
            typer.echo(err=True)
        self._length = 0


_STATUS_LINE = _StatusLine()


def print_note(message: str) -> None:
    """Print a line of progress, or a note, to standard error."""
    end_status()
    typer.echo(f"{program_name()}: {message}", err=True)


def print_status(message: str) -> None:
    """Print a line to standard error, a terminal, that replaces the last one of this function.

    Call `end_status` before anything is printed by other functions than those of this module.
    """
    _STATUS_LINE.show(f"{program_name()}: {message}")


def end_status() -> None:
    """Go to the next line, if `print_status` has printed the last one."""
    _STATUS_LINE.end()


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
