"""What pinned packages of PyPI and npm came to: archives, where they are from, and what they hash to."""

from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model


class Artifact(Model):
    """One archive of one package."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    url: str
    hash: str
    """`sha256:HEX` or `sha512:HEX`, of the archive."""
    place: str = ""
    """Of npm: where it belongs, such as `node_modules/a/node_modules/b`."""


Resolution = Annotated[
    tuple[Artifact, ...],
    # Left out where there is none: what was written before there were any is folded to the same bytes.
    Field(exclude_if=lambda artifacts: not artifacts),
]
"""Everything that the pinned packages need, themselves included."""
