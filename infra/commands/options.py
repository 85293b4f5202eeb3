"""Parsers of option values. Typer reports their errors with the name of the option."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import typer

from topics.request.ceilings import range_of
from topics.request.field_names import unknown_field
from topics.request.limits import Limits
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


class KeyCeiling(NamedTuple):
    """Highest value of a limit in the requests of a key."""

    path: str
    """Path of the limit, such as `run.wall_time_s`."""
    value: float


def a_ceiling(text: str) -> KeyCeiling:
    """Return the path of a limit, such as `run.wall_time_s`, and the value that is given for it.

    Raises:
        typer.BadParameter: there is no such limit, or the value is no number, or below the limit's floor.
    """
    path, _, given = text.partition("=")
    location = path.split(".")
    form = f"{text!r} is not LIMIT=VALUE, such as run.wall_time_s=5"
    if len(location) != 2:
        raise typer.BadParameter(form)
    if (allowed := range_of(location)) is None:
        unknown = location if location[0] in Limits.model_fields else location[:1]
        raise typer.BadParameter(f"{path!r}: {unknown_field(Limits, unknown)}")
    try:
        value = type(allowed.ceiling)(given)
    except ValueError:
        raise typer.BadParameter(form) from None
    if not value >= allowed.floor or value == float("inf"):
        raise typer.BadParameter(f"{path} must be at least {allowed.floor}, not {given}")
    return KeyCeiling(path, value)
