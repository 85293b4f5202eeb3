"""Search for packages by name and description."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest

from nix.index import Index
from nix.package_set import Names, open_once
from nix.settings import NixSettings

_LIBRARIES = (
    *("python3-{}", "node-{}", "ruby-{}", "r-cran-{}", "lua-{}"),
    *("lib{}-dev", "lib{}-perl", "lib{}-java", "lib{}-ocaml-dev"),
)
"""Debian's names of a library, by the name that it has in its language."""


@dataclass(frozen=True, slots=True)
class Found:
    """A search result: a name that requests may use, with its version and description."""

    name: str
    version: str
    description: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the search results, with the total number of results."""

    total: int
    packages: list[Found]


class Search:
    """All names of a package set in memory, some 10 MiB for Debian; a search takes about 30 ms."""

    def __init__(self, entries: Iterable[Found]) -> None:
        # One string for each takes half the memory of the objects, and a third with their lower case.
        self._lines = [f"{entry.name}\t{entry.version}\t{entry.description}" for entry in entries]

    def find(self, query: str, offset: int, limit: int) -> Page:
        """Return a page of the entries with every word of `query` in name or description, best first.

        Names equal to the query come first, then libraries of that name, such as python3-numpy for numpy.
        Names that begin with the query follow, then names that contain it; shorter names first. An empty
        query matches all entries.
        """
        wanted = query.lower().strip()
        words = wanted.split()
        found = [line for line in self._lines if _has_all(line, words)]
        libraries = {form.format(wanted) for form in _LIBRARIES}
        page = nsmallest(offset + limit, found, key=partial(_rank, wanted, libraries))[offset:]
        return Page(len(found), [Found(*line.split("\t", 2)) for line in page])


def load(settings: NixSettings, pin: str) -> Search:
    """Read the names of a package set, which takes a second or two.

    Raises:
        CacheError: neither this host nor the binary cache has the package set.
    """
    opened = open_once(settings.cache_dir, settings.binary_cache_dir, pin)
    return Search(entries(opened.index, opened.names))


def entries(index: Index, names: Names) -> Iterator[Found]:
    """Yield an entry for each Debian package and for each alias of nixpkgs."""
    for package in index.packages():
        if package.name not in names.aliases:
            yield Found(package.name, package.version, package.description)
    for alias, targets in names.aliases.items():
        if target := index.package(targets[0]):
            yield Found(alias, target.version, f"{' and '.join(targets)}: {target.description}")


def _has_all(line: str, words: Iterable[str]) -> bool:
    """Return whether each word is in the name or the description. The version does not count."""
    lower = line.lower()
    if not all(word in lower for word in words):
        return False
    name, _, description = lower.split("\t", 2)
    return all(word in name or word in description for word in words)


def _rank(wanted: str, libraries: Set[str], line: str) -> tuple[int, int, str]:
    name = line.partition("\t")[0].lower()
    kinds = (name == wanted, name in libraries, name.startswith(wanted), wanted in name, True)
    return kinds.index(True), len(name), name
