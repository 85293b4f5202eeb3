"""Which files patterns ask for, one component of a path at a time: pure decisions.

A walk that goes down a tree knows at each folder which rests of the patterns can still be matched below it,
and never looks where nothing can be.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

ANY_FOLDERS = "**"

Rests = frozenset[tuple[int, tuple[str, ...]]]
"""Number of a pattern, and the components that are still to be matched; none are left where it is matched."""


def rests_of(patterns: Iterable[str]) -> Rests:
    """What is to be matched at the top."""
    return frozenset((number, _components(pattern)) for number, pattern in enumerate(patterns))


def _components(pattern: str) -> tuple[str, ...]:
    components = pattern.split("/")
    # At the end, ** means every file below.
    return (*components, "*") if components[-1] == ANY_FOLDERS else tuple(components)


def advance(rests: Rests, name: str) -> Rests:
    """What is still to be matched once `name` has been entered, or taken as a file."""
    after = set()
    for number, components in _with_folders_left_out(rests):
        if components[0] == ANY_FOLDERS:
            after.add((number, components))
        elif is_match(components[0], name):
            after.add((number, components[1:]))
    return frozenset(after)


def _with_folders_left_out(rests: Rests) -> Iterator[tuple[int, tuple[str, ...]]]:
    """** stands for no folder, too."""
    for number, components in rests:
        while components:
            yield number, components
            if components[0] != ANY_FOLDERS:
                break
            components = components[1:]


def first_matched(rests: Rests) -> int | None:
    """The number of the first pattern that is matched, None if none is."""
    return min((number for number, components in rests if not components), default=None)


def unmatched(rests: Rests) -> Rests:
    """What can be matched further below only."""
    return frozenset(rest for rest in rests if rest[1])


def plain_names(rests: Rests) -> frozenset[str]:
    """The names here that are asked for as they are."""
    return frozenset(parts[0] for _, parts in _with_folders_left_out(rests) if not _is_wild(parts[0]))


def needs_listing(rests: Rests) -> bool:
    """Whether names are asked for that only a listing tells."""
    return any(_is_wild(components[0]) for _, components in rests if components)


def is_match(component: str, name: str) -> bool:
    """Whether a name is as a component of a pattern says, where `*` is any text and `?` any character."""
    return _compiled(component).match(name) is not None


def _is_wild(component: str) -> bool:
    return "*" in component or "?" in component


@lru_cache(maxsize=1024)
def _compiled(component: str) -> re.Pattern[str]:
    # fnmatch's expressions take no exponential time; sets of characters are not ours.
    return re.compile(translate(component.replace("[", "[[]")))
