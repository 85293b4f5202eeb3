"""What a request may say about its dependencies, and what makes two of them the same."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass

SYSTEM = f"{platform.machine()}-linux"
"""The system that environments are built for, as Nix calls it."""


@dataclass(frozen=True)
class Packages:
    """A list of package names; none of them means the base environment alone."""

    names: tuple[str, ...] = ()

    def canonical(self) -> dict[str, object]:
        """Return the JSON form in which order and repetition no longer matter."""
        return {"packages": sorted(set(self.names))}


@dataclass(frozen=True)
class Expression:
    """A Nix expression as the user wrote it."""

    text: str

    def canonical(self) -> dict[str, object]:
        """Return the JSON form; only the same text is the same expression."""
        return {"nix": self.text}


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


def key(dependencies: Dependencies, pin: str, system: str = SYSTEM) -> str:
    """Return the id of a Dependencies object: 64 hex digits, equal for equal dependencies."""
    content = {"dependencies": dependencies.canonical(), "pin": pin, "system": system}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
