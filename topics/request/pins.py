"""Packages of PyPI and npm as requests name them: one version each, in one spelling.

What is accepted is letters, digits and few signs, beginning with a letter, a digit or `@`: nothing that a
command could take for an option, a path or an address.
"""

import re
from collections.abc import Iterable

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PINS = 200
"""Packages of each kind that a request may name; what these need does not count."""
PIN_CHARACTERS = 300

_PYPI_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PYPI = re.compile(rf"({_PYPI_NAME})(?:\[({_PYPI_NAME}(?:,{_PYPI_NAME})*)\])?==([A-Za-z0-9.!+_-]+)")
_NPM_NAME = r"[A-Za-z0-9][A-Za-z0-9._~-]*"
_NUMBER, _TAGS = r"(?:0|[1-9][0-9]*)", r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_NPM = re.compile(
    rf"((?:@{_NPM_NAME}/)?{_NPM_NAME})@({_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_TAGS})?(?:\+{_TAGS})?)"
)


def normal_pypi(pins: Iterable[str]) -> tuple[str, ...]:
    """The same packages in the one spelling: sorted, names as PEP 503 has them, versions as PEP 440 does.

    Raises ValueError that says which is wrong and what to write.
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
    """The same packages in the one spelling: sorted, each once.

    Raises ValueError that says which is wrong and what to write.
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
