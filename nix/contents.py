"""The contents of an environment; two environments with equal contents are the same."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from nix.artifacts import ResolvedArtifact
from nix.index import Package

ENVIRONMENT_FORMAT = 3
"""Version of the tree that a build makes of given contents: raise it with each change of the build.

The format is part of an environment's key and store path, and is written into its `FORMAT_FILE`. Environments
of lower formats are built again when they are next needed. Format 1 had no file.
"""
FORMAT_FILE = "format"
"""File beside the folders of an environment, not mounted for programs: a decimal number and a line feed."""

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
"""Path of a small file, relative to /usr."""


class SmallFile(BaseModel):
    """A text file that an expression adds to its environment."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    text: str
    executable: bool = False


@dataclass(frozen=True)
class Contents:
    """Everything that the build of an environment depends on, independent of how the request spells it."""

    packages: list[Package]
    """Debian packages in the order in which they are configured."""
    architecture: str
    """Debian's name of the architecture, such as `amd64`."""
    files: Mapping[str, SmallFile] = field(default_factory=dict)
    """Small files by path relative to /usr; each replaces a package's file of that path."""
    artifacts: Sequence[ResolvedArtifact] = ()
    """Archives of other registries, installed below /usr/local."""

    def key(self) -> str:
        """Return 64 hex digits, equal for equal contents."""
        files = {path: [file.text, file.executable] for path, file in self.files.items()}
        parts: list[object] = [ENVIRONMENT_FORMAT, manifest(self.packages), self.architecture, files]
        if self.artifacts:
            # The name is used for a program that its archive does not name.
            parts.append([[one.hash, one.place, one.name] for one in self.artifacts])
        content = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def manifest(packages: Iterable[Package]) -> str:
    """Return the list of Debian archives of an environment, one line each."""
    return "".join(f"{package.name} {package.sha256}\n" for package in packages)


def format_of(tree: Path) -> int:
    """Return the format that an environment was built with.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file does not hold a number.
    """
    try:
        return int((tree / FORMAT_FILE).read_bytes())
    except FileNotFoundError:
        return 1
