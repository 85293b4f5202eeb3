"""Generators of what follows from the code: documents below docs/, and the models of the client."""

from collections.abc import Callable
from pathlib import Path

from infra.documents import cli, client_models, settings

_DOCS = Path(__file__).parents[2] / "docs"
GENERATED: dict[Path, Callable[[], str]] = {
    _DOCS / "settings.md": settings.document,
    _DOCS / "cli.md": cli.document,
    client_models.PATH: client_models.document,
}
"""Generated files, with the function that returns their text; schemas are apart (`schemas.documents`)."""
