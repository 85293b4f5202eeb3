"""The dependencies of a request: package names or a Nix expression, with pinned packages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pinned:
    """Pinned packages: exact versions from other registries than Debian."""

    pypi: tuple[str, ...] = ()
    """Requirements of PyPI packages, such as `requests[socks]==2.32.5`."""
    npm: tuple[str, ...] = ()
    """Names and versions of npm packages, such as `@scope/name@1.0.0`."""


@dataclass(frozen=True)
class Packages:
    """A list of package names; an empty one means the base environment alone."""

    names: tuple[str, ...] = ()
    pinned: Pinned = Pinned()


@dataclass(frozen=True)
class Expression:
    """A Nix expression as the user wrote it."""

    text: str
    pinned: Pinned = Pinned()


Dependencies = Packages | Expression


def from_json(value: Mapping[str, object] | None) -> Dependencies:
    """Read `{"packages": [...]}` or `{"nix": "..."}`, `pypi` and `npm` beside them, or None (the base alone).

    Raises:
        ValueError: the value has another shape. Requests are validated before they are accepted.
    """
    if value is None:
        return Packages()
    lists: list[Any] = [value.get(name, ()) for name in ("packages", "pypi", "npm")]
    known = value and value.keys() <= {"packages", "nix", "pypi", "npm"} and all(map(_is_names, lists))
    if known and not {"packages", "nix"} <= value.keys():
        names, pypi, npm = map(tuple, lists)
        if "nix" not in value:
            return Packages(names, Pinned(pypi, npm))
        if isinstance(text := value["nix"], str):
            return Expression(text, Pinned(pypi, npm))
    raise ValueError('dependencies are {"packages": [names]} or {"nix": "expression"}, with "pypi" and "npm"')


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
