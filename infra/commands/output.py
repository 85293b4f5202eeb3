"""How commands speak to people: progress and errors on standard error, answers on standard output."""

from typing import NoReturn

import typer


def say(message: str) -> None:
    """Tell what is going on."""
    typer.echo(f"envicutor: {message}", err=True)


def reason(error: Exception) -> str:
    """What went wrong, and with which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def fail(message: str, exit_code: int) -> NoReturn:
    """Tell what went wrong, and exit."""
    typer.echo(f"envicutor: {message}", err=True)
    raise typer.Exit(exit_code)
