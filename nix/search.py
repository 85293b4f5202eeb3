"""Search for packages by name and description."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nix.index import Index
from nix.package_set import Names, open_once
from nix.settings import NixSettings


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
    """All names of a package set in memory, some 20 MB; a search takes about 20 ms."""

    def __init__(self, entries: Iterable[Found]) -> None:
        self._entries = [(entry, entry.name.lower(), entry.description.lower()) for entry in entries]

    def find(self, query: str, offset: int, limit: int) -> Page:
        """Return a page of the entries with every word of `query` in name or description, best first.

        Names equal to the query come first, then names that begin with it, then names that contain it;
        shorter names first. An empty query matches all entries.
        """
        wanted = query.lower().strip()
        words = wanted.split()
        ranked = sorted(
            (_rank(wanted, name), len(name), name, entry)
            for entry, name, description in self._entries
            if all(word in name or word in description for word in words)
        )
        return Page(len(ranked), [entry for *_, entry in ranked[offset : offset + limit]])


def load(settings: NixSettings, pin: str) -> Search:
    """Read the names of a package set, which takes a second.

    Raises:
        CacheError: neither this host nor the binary cache has the package set.
    """
    opened = open_once(settings.cache_dir, settings.binary_cache_dir, pin)
    return Search(entries(opened.index, opened.names))


def entries(index: Index, names: Names) -> Iterator[Found]:
    """Yield an entry for each Debian package and for each alias of nixpkgs."""
    for name in index.names:
        if name not in names.aliases and (package := index.package(name)):
            yield Found(name, package.version, package.description)
    for alias, targets in names.aliases.items():
        if package := index.package(targets[0]):
            yield Found(alias, package.version, f"{' and '.join(targets)}: {package.description}")


def _rank(wanted: str, name: str) -> int:
    if name == wanted:
        return 0
    return 1 if name.startswith(wanted) else 2 if wanted in name else 3
