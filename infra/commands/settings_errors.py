"""Wrong settings, for people: which variable, what is wrong with it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from infra.commands.output import fail, say

USAGE = 2
_SHOWN_CHARACTERS = 100


@contextmanager
def explained() -> Iterator[None]:
    """Where settings are wrong the command says so, and ends with 2."""
    try:
        yield
    except ValidationError as error:
        settings = _settings(error.title)
        if settings is None:
            raise
        *others, last = explain(error, settings.model_config["env_prefix"])
        for message in others:
            say(message)
        fail(last, USAGE)
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        fail(f"ENVICUTOR_{named[1].upper()} is not JSON, which it must be" if named else str(error), USAGE)


def explain(error: ValidationError, prefix: str) -> Iterator[str]:
    """One line for each setting that is wrong."""
    for details in error.errors(include_url=False):
        message = details["msg"].removeprefix("Value error, ")
        if not details["loc"]:
            yield message
            continue
        name, *below = map(str, details["loc"])
        where = "".join(f", {part}" for part in below if part != "[key]")
        given = str(details["input"])[:_SHOWN_CHARACTERS]
        yield f"{prefix}{name.upper()}{where}: {message}, not {given!r}"


def _settings(name: str) -> type[BaseSettings] | None:
    return next((found for found in BaseSettings.__subclasses__() if found.__name__ == name), None)
