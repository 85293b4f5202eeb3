"""Packages of PyPI and npm as requests name them, in one spelling.

On the log each has one version, a pin. Requests may leave the version of a package of PyPI open. It is
resolved to a pin before the request is accepted.

A pin has letters, digits and few other characters, and begins with a letter, a digit or `@`. So no command
can take it for an option, a path or an address.
"""

import re
from collections.abc import Iterable

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

PINS = 200
"""Packages of each registry that a request may name; their own dependencies do not count."""
UNPINNED = 20
"""Packages without an exact version that a request may name. Each is looked up before it is accepted."""
PIN_CHARACTERS = 300

_PYPI_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PYPI = re.compile(rf"({_PYPI_NAME})(?:\[({_PYPI_NAME}(?:,{_PYPI_NAME})*)\])?==([A-Za-z0-9.!+_-]+)")
_PYPI_RANGE = re.compile(
    rf"({_PYPI_NAME})(?:\[({_PYPI_NAME}(?:,{_PYPI_NAME})*)\])?(?: *([<>=!~][A-Za-z0-9.!+_*<>=~, -]*))?"
)
_NPM_NAME = r"[A-Za-z0-9][A-Za-z0-9._~-]*"
_NUMBER, _TAGS = r"(?:0|[1-9][0-9]*)", r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_NPM = re.compile(
    rf"((?:@{_NPM_NAME}/)?{_NPM_NAME})@({_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_TAGS})?(?:\+{_TAGS})?)"
)


def is_pin(requirement: str) -> bool:
    """Return whether a package of PyPI, in the spelling of `normal_pypi`, has one exact version."""
    return _PYPI.fullmatch(requirement) is not None


def normal_pypi(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the packages in one spelling: names normalized by PEP 503, versions by PEP 440.

    Pins are sorted. If a package has no exact version, all keep their order, so that errors of the resolution
    name the place in the request.

    Raises:
        ValueError: a requirement is wrong; the message has it and what to write instead.
    """
    versions: dict[str, str] = {}
    extras: dict[str, set[str]] = {}
    for requirement in requirements:
        name, those, version = _parts(requirement)
        _add(versions, name, version)
        extras.setdefault(name, set()).update(those)
    unpinned = [name for name, version in versions.items() if not version.startswith("==")]
    if len(unpinned) > UNPINNED:
        raise ValueError(f"{len(unpinned)} packages have no version, and {UNPINNED} may: give versions")
    wanted = ((name, ",".join(sorted(extras[name]))) for name in (versions if unpinned else sorted(versions)))
    return tuple(
        f"{name}[{those}]{versions[name]}" if those else name + versions[name] for name, those in wanted
    )


def _parts(requirement: str) -> tuple[str, set[str], str]:
    """Return name, extras and specifiers of a package; the specifiers are `==VERSION` for a pin.

    Raises:
        ValueError: the requirement has another form.
    """
    found = _PYPI_RANGE.fullmatch(requirement)
    try:
        specifiers = SpecifierSet(found[3] or "") if found else None
    except InvalidSpecifier:
        specifiers = None
    if found is None or specifiers is None:
        raise ValueError(
            f"{requirement!r}: write NAME, NAME==VERSION or NAME>=VERSION, or NAME[EXTRA] for NAME, as in "
            "requests==2.32.5"
        )
    version = str(specifiers)
    only = next(iter(specifiers)) if len(specifiers) == 1 else None
    if only and only.operator == "==" and not only.version.endswith("*"):
        version = f"=={Version(only.version)}"
    extras = {str(canonicalize_name(extra)) for extra in (found[2] or "").split(",") if extra}
    return canonicalize_name(found[1]), extras, version


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
        _add(versions, found[1], f"@{found[2]}")
    return tuple(name + versions[name] for name in sorted(versions))


def _add(versions: dict[str, str], name: str, version: str) -> None:
    if (other := versions.setdefault(name, version)) != version:
        raise ValueError(f"{name} is given as {name}{other} and as {name}{version}: give one of them")
