"""Which names a submission's files may have."""

from collections.abc import Iterable

COMPONENT_BYTES = 255
"""NAME_MAX of Linux file systems."""
PATH_BYTES = 1024
PATH_DEPTH = 64
"""Folders between /box and a file."""


def check_file_names(names: Iterable[str]) -> None:
    """Accept relative paths, each once, none of them both a file and a folder.

    Raises:
        ValueError: naming the offending name and why it is refused.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        if problem := name_problem(name):
            raise ValueError(f"file name {name!r} {problem}")
        if name in seen:
            raise ValueError(f"file name {name!r} is given twice")
        seen.add(name)
        folder = name
        while (folder := folder.rpartition("/")[0]) and folder not in folders:
            folders.add(folder)
    if both := sorted(seen & folders):
        raise ValueError(f"file name {both[0]!r} is also a folder of another file")


def name_problem(name: str) -> str | None:
    """Why `name` cannot be that of a file below /box, such as `is absolute`; None if it can."""
    if not name:
        return "is empty"
    if "\0" in name:
        return "contains NUL"
    if name.startswith("/"):
        return "is absolute"
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if len(encoded) > PATH_BYTES:
        return f"is longer than {PATH_BYTES} bytes"
    parts = name.split("/")
    if len(parts) > PATH_DEPTH + 1:
        return f"is more than {PATH_DEPTH} folders deep"
    return next(filter(None, map(_component_problem, parts)), None)


def _component_problem(part: str) -> str | None:
    if not part:
        return "has an empty component"
    if part in {".", ".."}:
        return f"has a component {part!r}"
    if len(part.encode()) > COMPONENT_BYTES:
        return f"has a component longer than {COMPONENT_BYTES} bytes"
    return None
