"""Languages that the server has presets for, as `GET /languages` lists them."""

from collections.abc import Sequence
from pathlib import PurePath

from envicutor_client.models import WireModel

NAMELESS = "main"
"""Name of the file with the code if the server knows no preset of its language."""


class KnownLanguage(WireModel):
    """Preset of a language: what a request with one file need not give itself."""

    name: str
    """Name for the field `language` of requests, such as `cpp`."""
    title: str = ""
    """Name and version for people, such as `C++ (GCC 12.2.0)`."""
    version: str = ""
    """Version of compiler or interpreter."""
    packages: Sequence[str] = ()
    """Debian packages that programs of the language need."""
    source_file: str = NAMELESS
    """Usual name of the file with the code, such as `main.cpp`."""
    suffixes: Sequence[str] = ()
    """Suffixes of its files, such as `.cpp`; no other language has them."""
    compile: str | None = None
    """Command that compiles the source, in which `{source}` stands for its name; None if there is none."""
    run: str = ""
    """Command that runs the program, with the same placeholders."""
    hello: str = ""
    """Code of a program that prints a greeting."""
    prebuilt: bool = False
    """Whether the environment of the language is built before the first request needs it."""


class KnownLanguages(WireModel):
    """All presets of a server, and the package set that their versions come from."""

    package_set: str | None = None
    languages: Sequence[KnownLanguage]


class UnknownSuffixError(ValueError):
    """Error: no language has files with this suffix."""


def find(known: Sequence[KnownLanguage], name: str) -> KnownLanguage:
    """Return the language with this name; the server refuses a name that it does not know."""
    return next((language for language in known if language.name == name), KnownLanguage(name=name))


def of_file(known: Sequence[KnownLanguage], file: str) -> KnownLanguage:
    """Return the language of a file by its suffix.

    Raises:
        UnknownSuffixError: no language has files with this suffix.
    """
    for language in known:
        if PurePath(file).suffix in language.suffixes:
            return language
    names = ", ".join(language.name for language in known)
    raise UnknownSuffixError(f"the suffix of {file!r} is that of no language: there are {names}")
