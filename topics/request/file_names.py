"""Rules for the names of a submission's files."""

import re
from collections.abc import Iterable
from itertools import pairwise

COMPONENT_BYTES = 255
"""NAME_MAX of Linux file systems."""
PATH_BYTES = 1024
PATH_DEPTH = 64
"""Folders between /box and a file."""

_BAD_COMPONENT = re.compile(rb"(?:\A|/)(?:\.{0,2}(?:/|\Z)|[^/]{%d})" % (COMPONENT_BYTES + 1))
"""Matches a path of which a component is empty, `.`, `..` or too long."""


def check_file_names(names: Iterable[str]) -> None:
    """Accept relative paths, each once, none of them both a file and a folder.

    Raises:
        ValueError: a name is refused; the message has the name and the reason.
    """
    seen: set[str] = set()
    for name in names:
        if problem := name_problem(name):
            raise ValueError(f"file name {name!r} {problem}")
        if name in seen:
            raise ValueError(f"file name {name!r} is given twice")
        seen.add(name)
    # NUL sorts before all other characters, so that a folder is followed at once by what is in it.
    ordered = sorted(name.replace("/", "\0") for name in seen)
    for above, name in pairwise(ordered):
        if name.startswith(above + "\0"):
            folder = above.replace("\0", "/")
            raise ValueError(f"file name {folder!r} is also a folder of another file")


def name_problem(name: str) -> str | None:
    """Return why `name` cannot be that of a file below /box, such as `is absolute`; None if it can."""
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
    if name.count("/") > PATH_DEPTH:
        return f"is more than {PATH_DEPTH} folders deep"
    if _BAD_COMPONENT.search(encoded) is None:
        return None
    return next(filter(None, map(_component_problem, name.split("/"))), None)


def _component_problem(part: str) -> str | None:
    if not part:
        return "has an empty component"
    if part in {".", ".."}:
        return f"has a component {part!r}"
    if len(part.encode()) > COMPONENT_BYTES:
        return f"has a component longer than {COMPONENT_BYTES} bytes"
    return None
