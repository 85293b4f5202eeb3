"""Resolution of names to the packages of an environment, in the order in which they are configured."""

import difflib
from collections.abc import Iterable, Iterator, Set

from nix.errors import DependenciesError
from nix.index import Index, Package
from nix.package_set import Names

EXPLAINED = 5
"""Largest number of unknown names that an error explains; each takes half a second."""


def debian_names(requested: Iterable[str], index: Index, names: Names) -> list[str]:
    """Return the Debian packages that requested names mean.

    Names are Debian's own, those of nixpkgs, or a set's such as `python3Packages.numpy`.

    Raises:
        DependenciesError: some names are unknown; the message suggests similar ones.
    """
    found = {name: _meaning(name, index, names) for name in requested}
    unknown = [name for name, meaning in found.items() if not meaning]
    if unknown:
        raise DependenciesError(
            "\n".join(_explain_unknown(name, index, names) for name in unknown[:EXPLAINED])
        )
    return [debian for meaning in found.values() for debian in meaning]


def closure(roots: Iterable[str], index: Index) -> list[Package]:
    """Return the packages of an environment, each after those it depends on (cycles are cut).

    The order depends only on the set of packages, not on the order of the roots.

    Raises:
        DependenciesError: a package, or one that it depends on, is not in the index.
    """
    wanted = set(roots)
    chosen: set[str] = set()
    pending = [_choose("the request", (name,), wanted, index) for name in wanted]
    while pending:
        name = pending.pop()
        if name not in chosen:
            chosen.add(name)
            pending += [_choose(name, group, wanted, index) for group in _package(name, index).depends]
    return [_package(name, index) for name in _dependencies_first(chosen, index)]


def _meaning(name: str, index: Index, names: Names) -> list[str]:
    if name in names.aliases:
        return names.aliases[name]
    if index.candidates(name):
        return [name]
    set_name, _, member = name.partition(".")
    meaning = names.sets.get(set_name, {}).get(member)
    return [meaning] if meaning else []


def nearest(name: str, index: Index, names: Names) -> list[str]:
    """Return known names similar to an unknown one, best first; takes half a second."""
    members = {member: f"{set_name}.{member}" for set_name, those in names.sets.items() for member in those}
    shown = members if "." in name else members | {other: other for other in [*index.names(), *names.aliases]}
    wanted = name.rpartition(".")[2]
    exact = [members[wanted]] if wanted in members else []
    near = difflib.get_close_matches(wanted, shown, n=4)
    return list(dict.fromkeys(exact + [shown[match] for match in near]))


def _explain_unknown(name: str, index: Index, names: Names) -> str:
    near = [_with_meaning(other, index, names) for other in nearest(name, index, names)]
    return f"there is no package {name!r}" + (f"; did you mean {', '.join(near)}?" if near else "")


def _with_meaning(name: str, index: Index, names: Names) -> str:
    """Return a name with its Debian package, if it is a set's member; searches find the Debian name."""
    meaning = ", ".join(_meaning(name, index, names))
    return name if index.candidates(name) or name in names.aliases else f"{name} ({meaning})"


def _choose(needed_by: str, group: Iterable[str], wanted: set[str], index: Index) -> str:
    """Return the package that satisfies a group of alternatives: a requested one, else the first.

    Raises:
        DependenciesError: no alternative is in the index.
    """
    candidates = [candidate for name in group for candidate in index.candidates(name)]
    if not candidates:
        needs = " or ".join(group)
        raise DependenciesError(f"{needed_by} needs {needs}, which is not in the package set")
    return next((candidate for candidate in candidates if candidate in wanted), candidates[0])


def _package(name: str, index: Index) -> Package:
    package = index.package(name)
    assert package is not None, f"{name} was chosen from the index"
    return package


def _dependencies_first(names: Set[str], index: Index) -> Iterator[str]:
    """Yield names depth first; sorted visits make the order a function of the set alone."""
    visited: set[str] = set()

    def enter(name: str) -> tuple[str, Iterator[str]]:
        visited.add(name)
        groups = _package(name, index).depends
        candidates = {other for group in groups for needed in group for other in index.candidates(needed)}
        return name, iter(sorted(candidates & names))

    for start in sorted(names):
        stack = [] if start in visited else [enter(start)]
        while stack:
            name, following = stack[-1]
            other = next((other for other in following if other not in visited), None)
            if other:
                stack.append(enter(other))
            else:
                stack.pop()
                yield name
