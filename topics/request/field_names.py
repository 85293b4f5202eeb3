"""Suggestions for unknown names of fields."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_LONGEST = 100
"""Characters of a name that are compared: the time grows with their square."""


def unknown_field(root: type[BaseModel], location: Sequence[str]) -> str:
    """Return a message about an unknown field, by its path from `root`; positions in lists are ignored."""
    *above, name = location
    known = _fields(root, [part for part in above if not part.isdigit()])
    near = get_close_matches(name[:_LONGEST], known, n=1)
    if near:
        return f"there is no such field; did you mean {near[0]!r}?"
    return f"there is no such field: there are {', '.join(known)}" if known else "there is no such field"


def _fields(model: type[BaseModel], path: Sequence[str]) -> tuple[str, ...]:
    for part in path:
        field = model.model_fields.get(part)
        found = None if field is None else next(_models(field.annotation), None)
        if found is None:
            return ()
        model = found
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
