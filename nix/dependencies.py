"""What a request may say about its dependencies."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

SYSTEM = f"{platform.machine()}-linux"
"""The system that environments are built for, as Nix calls it."""


@dataclass(frozen=True)
class Packages:
    """A list of package names; none of them means the base environment alone."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expression:
    """A Nix expression as the user wrote it."""

    text: str


Dependencies = Packages | Expression


def from_json(value: Mapping[str, object] | None) -> Dependencies:
    """Read `{"packages": [...]}`, `{"nix": "..."}` or None (the base alone).

    Raises ValueError for anything else; requests are validated before they are accepted.
    """
    if value is None:
        return Packages()
    names, text = value.get("packages"), value.get("nix")
    if len(value) == 1 and isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return Packages(tuple(names))
    if len(value) == 1 and isinstance(text, str):
        return Expression(text)
    raise ValueError('dependencies are {"packages": [names]} or {"nix": "expression"}')
