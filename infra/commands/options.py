"""Parsers of option values. Typer reports their errors with the name of the option."""

from collections.abc import Callable
from enum import StrEnum

import typer

from topics.times import milliseconds


class AggregateName(StrEnum):
    """Aggregate that a command works on."""

    SUBMISSIONS = "submissions"
    DEPENDENCIES = "dependencies"


def one_of(*permitted: str) -> Callable[[str], str]:
    """Return a parser that accepts only these words.

    Raises:
        typer.BadParameter: the parser finds another word.
    """

    def parse(text: str) -> str:
        if text not in permitted:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(permitted)}")
        return text

    return parse


def moment(text: str) -> int:
    """Return a time in ISO 8601 as Unix time in milliseconds. A time without a zone is UTC.

    Raises:
        typer.BadParameter: the text is not a time.
    """
    try:
        return milliseconds(text)
    except ValueError:
        message = f"{text!r} is not a time, such as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message) from None
