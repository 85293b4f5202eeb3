"""Matching of output patterns, one component of a path at a time. Pure.

At each folder, a traversal knows the rests of the patterns that can still match below it. It enters no folder
below which no pattern can match.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

ANY_FOLDERS = "**"

Rests = frozenset[tuple[int, tuple[str, ...]]]
"""Pairs of a pattern's number and its components that are still to be matched; no component is left of a
match."""


def rests_of(patterns: Iterable[str]) -> Rests:
    """Return the rests at the root of the tree: all components of all patterns."""
    return frozenset((number, _components(pattern)) for number, pattern in enumerate(patterns))


def _components(pattern: str) -> tuple[str, ...]:
    components = pattern.split("/")
    # A final ** matches every file below.
    return (*components, "*") if components[-1] == ANY_FOLDERS else tuple(components)


def advance(rests: Rests, name: str) -> Rests:
    """Return the rests below a folder `name`, or at a file `name`."""
    after = set()
    for number, components in _with_folders_left_out(rests):
        if components[0] == ANY_FOLDERS:
            after.add((number, components))
        elif is_match(components[0], name):
            after.add((number, components[1:]))
    return frozenset(after)


def _with_folders_left_out(rests: Rests) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield each rest, also without its leading **, which matches no folder, too."""
    for number, components in rests:
        while components:
            yield number, components
            if components[0] != ANY_FOLDERS:
                break
            components = components[1:]


def first_matched(rests: Rests) -> int | None:
    """Return the number of the first pattern that matches, or None."""
    return min((number for number, components in rests if not components), default=None)


def unmatched(rests: Rests) -> Rests:
    """Return the rests that can only match further below."""
    return frozenset(rest for rest in rests if rest[1])


def plain_names(rests: Rests) -> frozenset[str]:
    """Return the names that the next component of a rest gives literally."""
    return frozenset(parts[0] for _, parts in _with_folders_left_out(rests) if not _is_wild(parts[0]))


def needs_listing(rests: Rests) -> bool:
    """Return whether a rest has a wildcard next, so that the folder must be listed."""
    return any(_is_wild(components[0]) for _, components in rests if components)


def is_match(component: str, name: str) -> bool:
    """Return whether a name matches a component: `*` stands for any text, `?` for any character."""
    return _compiled(component).match(name) is not None


def _is_wild(component: str) -> bool:
    return "*" in component or "?" in component


@lru_cache(maxsize=1024)
def _compiled(component: str) -> re.Pattern[str]:
    # Expressions of fnmatch take no exponential time. Our patterns have no sets of characters.
    return re.compile(translate(component.replace("[", "[[]")))
