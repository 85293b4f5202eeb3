"""Generators of the documents below docs/ that follow from the code."""

from collections.abc import Callable
from pathlib import Path

from infra.documents import cli, settings

_DOCS = Path(__file__).parents[2] / "docs"
REFERENCES: dict[Path, Callable[[], str]] = {
    _DOCS / "settings.md": settings.document,
    _DOCS / "cli.md": cli.document,
}
"""References in Markdown by their file, with the function that returns their text."""
