"""Packages of PyPI and npm as requests name them: one version each, in one spelling.

A pin has letters, digits and few other characters, and begins with a letter, a digit or `@`. So no command
can take it for an option, a path or an address.
"""

import re
from collections.abc import Iterable

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PINS = 200
"""Packages of each registry that a request may name; their own dependencies do not count."""
PIN_CHARACTERS = 300

_PYPI_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PYPI = re.compile(rf"({_PYPI_NAME})(?:\[({_PYPI_NAME}(?:,{_PYPI_NAME})*)\])?==([A-Za-z0-9.!+_-]+)")
_NPM_NAME = r"[A-Za-z0-9][A-Za-z0-9._~-]*"
_NUMBER, _TAGS = r"(?:0|[1-9][0-9]*)", r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_NPM = re.compile(
    rf"((?:@{_NPM_NAME}/)?{_NPM_NAME})@({_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_TAGS})?(?:\+{_TAGS})?)"
)


def normal_pypi(pins: Iterable[str]) -> tuple[str, ...]:
    """Return the packages in one spelling: sorted, names normalized by PEP 503, versions by PEP 440.

    Raises:
        ValueError: a pin is wrong; the message has the pin and what to write instead.
    """
    versions: dict[str, str] = {}
    extras: dict[str, set[str]] = {}
    for pin in pins:
        found = _PYPI.fullmatch(pin)
        try:
            version = str(Version(found[3])) if found else ""
        except InvalidVersion:
            version = ""
        if not found or not version:
            raise ValueError(f"{pin!r}: write NAME==VERSION or NAME[EXTRA]==VERSION, as in requests==2.32.5")
        name = canonicalize_name(found[1])
        _add(versions, name, version)
        extras.setdefault(name, set()).update(map(canonicalize_name, (found[2] or "").split(",")))
    wanted = {name: ",".join(sorted(extras[name] - {""})) for name in sorted(versions)}
    return tuple(
        f"{name}[{those}]=={versions[name]}" if those else f"{name}=={versions[name]}"
        for name, those in wanted.items()
    )


def normal_npm(pins: Iterable[str]) -> tuple[str, ...]:
    """Return the packages in one spelling: sorted, each once.

    Raises:
        ValueError: a pin is wrong; the message has the pin and what to write instead.
    """
    versions: dict[str, str] = {}
    for pin in pins:
        found = _NPM.fullmatch(pin)
        if not found:
            raise ValueError(f"{pin!r}: write NAME@VERSION or @SCOPE/NAME@VERSION, as in lodash@4.17.21")
        _add(versions, found[1], found[2])
    return tuple(f"{name}@{versions[name]}" for name in sorted(versions))


def _add(versions: dict[str, str], name: str, version: str) -> None:
    if versions.setdefault(name, version) != version:
        raise ValueError(f"{name} is given as {versions[name]} and as {version}: give one version")
