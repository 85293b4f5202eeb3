"""Choice of one of the languages that the server has presets for."""

from collections.abc import Sequence
from pathlib import PurePath

from envicutor_client.errors import NoSuchLanguageError
from envicutor_client.models import Language


def find(known: Sequence[Language], name: str) -> Language:
    """Return the language with this name.

    Raises:
        NoSuchLanguageError: there is none.
    """
    for language in known:
        if language.name == name:
            return language
    raise NoSuchLanguageError(f"there is no language {name!r}: there are {_names(known)}")


def of_file(known: Sequence[Language], file: str) -> Language:
    """Return the language of a file by its suffix, such as `.cpp`.

    Raises:
        NoSuchLanguageError: no language has files with this suffix.
    """
    for language in known:
        if PurePath(file).suffix in language.suffixes:
            return language
    raise NoSuchLanguageError(f"the suffix of {file!r} is that of no language: there are {_names(known)}")


def _names(known: Sequence[Language]) -> str:
    return ", ".join(language.name for language in known)
