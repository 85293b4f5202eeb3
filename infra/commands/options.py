"""Values of options; what is wrong with one is told with its option's name."""

from collections.abc import Callable

import typer

from topics.times import milliseconds


def one_of(*permitted: str) -> Callable[[str], str]:
    """A parser of these words."""

    def parse(text: str) -> str:
        if text not in permitted:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(permitted)}")
        return text

    return parse


def moment(text: str) -> int:
    """A time in ISO 8601, of UTC where it does not say otherwise, as Unix time in milliseconds."""
    try:
        return milliseconds(text)
    except ValueError:
        message = f"{text!r} is not a time, such as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message) from None
