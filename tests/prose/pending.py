"""What is not converted to the rules yet."""

from pathlib import Path

PENDING: frozenset[str] = frozenset({})
"""Documents, and folders of the product without those below them. Delete an entry to have it checked."""


def area(file: Path) -> str:
    """Return the entry of `PENDING` for a file, whose path is relative to the repository."""
    return (file if file.suffix == ".md" else file.parent).as_posix()


def is_pending(file: Path) -> bool:
    """Return whether a file is not checked yet."""
    return area(file) in PENDING
