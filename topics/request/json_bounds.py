"""Bounds on the structure of JSON, which are checked before it is parsed and before it is validated. Pure.

A parser takes 250 bytes of memory and 1 µs for each empty array. A validator that reports every error takes
3 µs for each. So a text of many small values costs a hundred times as much as one long string of the same
size. The check before parsing only searches bytes.
"""

from collections.abc import Iterator
from typing import Any

VALUES = 32_768
"""Values in one text. A request with 4096 files and 1000 test cases has about 22,000."""
CONTAINERS = 8_192
"""Arrays and objects in one text. A request with 4096 files and 1000 test cases has about 6100."""
MEMBERS = 32
"""Members of an object whose members' names are fixed. No model of a request has half as many fields."""

_QUOTES = 4
"""Quotes of a member whose value is a string."""


class StructureError(ValueError):
    """The text has more values than are allowed, which is `limit`."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class UnbalancedError(ValueError):
    """The text is not JSON: its brackets do not match."""


def check_structure(raw: bytes, scale: int = 1) -> None:
    """Accept a text that has at most `scale` times `VALUES` values and `CONTAINERS` arrays and objects.

    A text that is accepted need not be JSON.

    Raises:
        StructureError: it has more.
        UnbalancedError: it has more, and is not JSON.
    """
    values, containers = scale * VALUES, scale * CONTAINERS
    if len(raw) <= containers:
        return
    structure = _outside_strings(raw, most_quotes=_QUOTES * values)
    if structure is None:
        raise StructureError(f"there are more than {values} values", values)
    arrays, objects = structure.count(b"["), structure.count(b"{")
    if arrays + objects <= containers and structure.count(b",") + arrays + objects <= values:
        return
    if (arrays, objects) != (structure.count(b"]"), structure.count(b"}")):
        raise UnbalancedError("the brackets do not match")
    if arrays + objects > containers:
        raise StructureError(f"there are more than {containers} arrays and objects", containers)
    raise StructureError(f"there are more than {values} values", values)


def crowded_objects(value: Any) -> Iterator[tuple[str, int]]:
    """Yield path and size of each object within `value` that has more than `MEMBERS` members."""
    if not _has_crowded_object(value):  # as nearly always: making paths takes much longer
        return
    pending = [("", value)]
    while pending:
        path, inner = pending.pop()
        if isinstance(inner, dict) and len(inner) > MEMBERS:
            yield path, len(inner)
        for name, member in inner.items() if isinstance(inner, dict) else enumerate(inner):
            if isinstance(member, dict | list):
                pending.append((f"{path}.{name}" if path else str(name), member))


def _has_crowded_object(value: Any) -> bool:
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict) and len(inner) > MEMBERS:
            return True
        members = inner.values() if isinstance(inner, dict) else inner
        pending.extend([member for member in members if isinstance(member, dict | list)])
    return False


def _outside_strings(raw: bytes, most_quotes: int) -> bytes | None:
    """Return the text without its strings; None if more than `most_quotes` quotes delimit them."""
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    if unescaped.count(b'"') > most_quotes:
        return None
    return b"".join(unescaped.split(b'"')[::2])
