"""Resolution of pinned packages of PyPI and npm: archives with their URLs and hashes."""

from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model


class Artifact(Model):
    """One archive of one package."""

    registry: Literal["pypi", "npm"]
    """Registry of the package."""
    name: str
    """Name of the package, as the registry writes it."""
    version: str
    """Exact version of the package."""
    url: str
    """URL of the archive at its registry."""
    hash: str
    """Hash of the archive: `sha256:HEX` or `sha512:HEX`."""
    place: str = ""
    """Folder of an npm package, such as `node_modules/a/node_modules/b`; empty for PyPI."""


Resolution = Annotated[
    tuple[Artifact, ...],
    # An empty resolution is left out, so that events of versions without it are folded to the same bytes.
    Field(exclude_if=lambda artifacts: not artifacts),
]
"""Archives of the pinned packages and of all packages that they need."""
