"""Messages about wrong settings: name of the variable, and reason."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from infra.commands.output import USAGE, fail, print_note
from topics.request.field_names import unknown_field

_SHOWN_CHARACTERS = 100


@contextmanager
def report_settings_errors() -> Iterator[None]:
    """Print wrong settings that the context finds, and exit with `USAGE`."""
    try:
        yield
    except ValidationError as error:
        settings = _settings(error.title)
        if settings is None:
            raise
        *others, last = explain(error, settings)
        for message in others:
            print_note(message)
        fail(last, USAGE)
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        fail(_not_json(f"ENVICUTOR_{named[1].upper()}") if named else str(error), USAGE)


def explain(error: ValidationError, settings: type[BaseSettings]) -> Iterator[str]:
    """Yield a message for each of `settings` that is wrong.

    A default that is computed from such a setting is not wrong.
    """
    prefix = settings.model_config["env_prefix"]
    for details in error.errors(include_url=False):
        if details["type"] == "default_factory_not_called":
            continue
        message = details["msg"].removeprefix("Value error, ")
        if not details["loc"]:
            yield message
            continue
        name, *below = location = [*map(str, details["loc"])]
        is_unknown = details["type"] == "extra_forbidden"
        if is_unknown and below:
            message = unknown_field(settings, location)
        where = "".join(f", {part}" for part in below if part != "[key]")
        given = str(details["input"])[:_SHOWN_CHARACTERS]
        shown = "" if is_unknown or repr(given) in message else f", not {given!r}"
        yield f"{prefix}{name.upper()}{where}: {message}{shown}"


def _not_json(name: str) -> str:
    """Return a message about a setting that is not JSON. Suggest a list if its value is plain text."""
    given = next((value for key, value in os.environ.items() if key.upper() == name), "")
    is_text = given and not any(character in given for character in '[]{}"=')
    example = f", such as '{json.dumps(given.split(','))}'" if is_text else ""
    return f"{name} must be JSON{example}"


def _settings(name: str) -> type[BaseSettings] | None:
    return next((found for found in _below(BaseSettings) if found.__name__ == name), None)


def _below(settings: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for found in settings.__subclasses__():
        yield found
        yield from _below(found)
