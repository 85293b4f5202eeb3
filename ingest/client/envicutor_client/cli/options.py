"""Parsers of option values. Typer reports their errors with the name of the option."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, get_args

import typer


def words(annotation: Any) -> tuple[str, ...]:
    """Return the words that a model documents for a field which admits others."""
    return get_args(get_args(annotation)[0])


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


def moment(text: str) -> datetime:
    """Return a time in ISO 8601. A time without a zone is UTC.

    Raises:
        typer.BadParameter: the text is not a time.
    """
    try:
        # Python 3.10 does not know `Z`.
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        message = f"{text!r} is not a time, such as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
