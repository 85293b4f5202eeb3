"""Values of options that several commands have."""

from enum import StrEnum
from typing import NamedTuple

import typer

from topics.request.ceilings import range_of
from topics.request.field_names import unknown_field
from topics.request.limits import Limits


class AggregateName(StrEnum):
    """Aggregate that a command works on."""

    SUBMISSIONS = "submissions"
    DEPENDENCIES = "dependencies"


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
