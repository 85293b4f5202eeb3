"""What an environment is made of, and with that what makes two environments the same."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from nix.artifacts import Artifact
from nix.index import Package

ENVIRONMENT_FORMAT = 2
"""The version of what a build makes of the same contents: raise it with each change of that.

It is part of an environment's key and store path, and stands in the environment's `FORMAT_FILE`. Environments
of lower formats are built again when they are next needed. Format 1 had no file.
"""
FORMAT_FILE = "format"
"""Beside the folders of an environment, where programs do not see it: a decimal number and a line feed."""

_COMPONENT = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_+.@-]*")
_COMPONENTS = 8


def _plain(path: str) -> str:
    components = path.split("/")
    if len(components) > _COMPONENTS or not all(map(_COMPONENT.fullmatch, components)):
        raise ValueError(
            f"give a plain relative path such as bin/NAME: at most {_COMPONENTS} names of letters, digits "
            "and _ + - . @, which do not begin with a dot"
        )
    return path


FilePath = Annotated[str, StringConstraints(max_length=200), AfterValidator(_plain)]
"""Of a small file, below /usr."""


class SmallFile(BaseModel):
    """A file that an expression brings."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    text: str
    executable: bool = False


@dataclass(frozen=True)
class Contents:
    """All that the build of an environment depends on, however it was asked for."""

    packages: list[Package]
    """In the order of their configuration."""
    architecture: str
    """As Debian calls it, `amd64`."""
    files: Mapping[str, SmallFile] = field(default_factory=dict)
    """By their path below /usr, where each takes the place of a package's."""
    artifacts: Sequence[Artifact] = ()
    """Of other registries, below /usr/local."""

    def key(self) -> str:
        """Return 64 hex digits, equal for equal contents."""
        files = {path: [file.text, file.executable] for path, file in self.files.items()}
        parts: list[object] = [ENVIRONMENT_FORMAT, manifest(self.packages), self.architecture, files]
        if self.artifacts:
            # The name decides what a program is called that its archive gives no name.
            parts.append([[one.hash, one.place, one.name] for one in self.artifacts])
        content = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def manifest(packages: Iterable[Package]) -> str:
    """Return the list of archives that make an environment; the same list is the same store path."""
    return "".join(f"{package.name} {package.sha256}\n" for package in packages)


def format_of(tree: Path) -> int:
    """Return the format that an environment was built with. Raises OSError, ValueError for a damaged file."""
    try:
        return int((tree / FORMAT_FILE).read_bytes())
    except FileNotFoundError:
        return 1
