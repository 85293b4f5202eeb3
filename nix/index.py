"""The index of a package set: a line for each package, sorted by name.

A line is `name TAB json`. The JSON is a package (see `Package`), or the list of
the packages that provide the name, best first.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, BinaryIO

from debian.deb822 import PkgRelation
from debian.debian_support import Version

FIELDS = ("Package", "Version", "Filename", "SHA256", "Size", "Installed-Size", "Priority", "Description")
RELATIONS = ("Pre-Depends", "Depends", "Provides")
PRIORITIES = ("required", "important", "standard", "optional", "extra")

_BLOCK_LINES = 64
_LOOK_UPS = 4096
"""Parsed lines that an index remembers, some 6 MiB: more than the largest environment has packages."""

Paragraph = dict[str, str]
compare: Callable[[str], Version] = lru_cache(maxsize=None)(Version)
SATISFIES: dict[str, Callable[[Version, Version], bool]] = {
    "<<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
    ">=": lambda a, b: a >= b,
    ">>": lambda a, b: a > b,
}


@dataclass(frozen=True)
class Package:
    """One version of one Debian package."""

    name: str
    version: str
    repository: str
    """Repository of the distribution that has the package, as `codename/component`."""
    filename: str
    """Path of the archive within the repository."""
    sha256: str
    """SHA-256 of the archive, hexadecimal."""
    archive_bytes: int
    installed_bytes: int
    """Unpacked size, by Debian's estimate (Installed-Size)."""
    depends: tuple[tuple[str, ...], ...]
    """Groups of alternatives: one name of each is needed, preferably the first; it may be a provided name."""
    description: str = ""
    """One line; empty in indexes of earlier versions."""


class Index:
    """An index in a file, of which only one name in 64 and the latest look-ups are in memory.

    All lines of Debian's index would take 50 MiB. A look-up reads a block of lines. Any thread may look up.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read `file` once from its beginning. It stays open, and only this object uses it."""
        self._file, self._lock = file, Lock()
        self._first_names: list[bytes] = []
        self._offsets: list[int] = []
        offset = 0
        for number, line in enumerate(file):
            if number % _BLOCK_LINES == 0:
                self._first_names.append(_name(line))
                self._offsets.append(offset)
            offset += len(line)
        self._offsets.append(offset)
        self._value = lru_cache(_LOOK_UPS)(self._read_value)

    def names(self) -> Iterator[str]:
        """Yield the names of all packages and provided names, sorted."""
        return (_name(line).decode() for line in self._lines())

    def packages(self) -> Iterator[Package]:
        """Yield all packages, sorted by name."""
        for line in self._lines():
            value = _parsed(line)
            if isinstance(value, Package):
                yield value

    def package(self, name: str) -> Package | None:
        """Return the package `name`, or None if there is none or others only provide it."""
        value = self._value(name)
        return value if isinstance(value, Package) else None

    def candidates(self, name: str) -> list[str]:
        """Return the packages for a name, best first: the package itself, or those that provide it."""
        value = self._value(name)
        return [name] if isinstance(value, Package) else value or []

    def _read_value(self, name: str) -> Package | list[str] | None:
        wanted = name.encode(errors="surrogatepass")  # requests may have any text
        block = bisect_right(self._first_names, wanted) - 1
        lines = self._block(block) if block >= 0 else []
        return next((_parsed(line) for line in lines if _name(line) == wanted), None)

    def _lines(self) -> Iterator[bytes]:
        for block in range(len(self._first_names)):
            yield from self._block(block)

    def _block(self, number: int) -> list[bytes]:
        begin, end = self._offsets[number : number + 2]
        with self._lock:
            self._file.seek(begin)
            return self._file.read(end - begin).splitlines()


def _name(line: bytes) -> bytes:
    return line.partition(b"\t")[0]


def _parsed(line: bytes) -> Package | list[str]:
    name, _, text = line.partition(b"\t")
    value = json.loads(text)
    if isinstance(value, list):
        return value
    depends = tuple(tuple(group) for group in value.pop("depends"))
    return Package(name=name.decode(), depends=depends, **value)


def write(lists: Iterable[tuple[str, str]], left_out: Set[str], preferred: Mapping[str, str]) -> bytes:
    """Make an index of pairs of a repository and the text of its Packages file.

    The highest of several versions is taken. Dependencies on a package of `left_out` are dropped. `preferred`
    maps a provided name to the package that is ranked first for it.
    """
    newest: dict[str, tuple[str, Paragraph]] = {}
    for repository, text in lists:
        for paragraph in _paragraphs(text):
            name = paragraph["Package"]
            known = newest.get(name)
            if known is None or compare(known[1]["Version"]) < compare(paragraph["Version"]):
                newest[name] = (repository, paragraph)
    versions = {name: paragraph["Version"] for name, (_, paragraph) in newest.items()}
    records: dict[str, object] = dict(_providers(newest, preferred))
    for name, (repository, paragraph) in newest.items():
        records[name] = {
            "version": paragraph["Version"],
            "repository": repository,
            "filename": paragraph["Filename"],
            "sha256": paragraph["SHA256"],
            "archive_bytes": int(paragraph["Size"]),
            "installed_bytes": int(paragraph.get("Installed-Size", 0)) * 1024,
            "description": paragraph.get("Description", ""),
            "depends": [list(group) for group in dict.fromkeys(_depends(paragraph, left_out, versions))],
        }
    return "".join(f"{name}\t{_json(records[name])}\n" for name in sorted(records)).encode()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _paragraphs(text: str) -> Iterator[Paragraph]:
    """Yield the paragraphs of a Packages file, with single-line fields only; Deb822 would take 7 s."""
    wanted = tuple(f"{field}: " for field in FIELDS + RELATIONS)
    for paragraph in text.split("\n\n"):
        lines = [line.split(": ", 1) for line in paragraph.splitlines() if line.startswith(wanted)]
        if lines:
            yield dict(lines)


def _providers(
    newest: Mapping[str, tuple[str, Paragraph]], preferred: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each name without a package of its own, with its providers: preferred, by priority, by name."""
    providers: dict[str, set[str]] = {}
    for provider, (_, paragraph) in newest.items():
        # Rust crates provide a hundred thousand names that only Debian's own builds use.
        if "Provides" in paragraph and not provider.startswith("librust-"):
            for (relation,) in PkgRelation.parse_relations(paragraph["Provides"]):
                providers.setdefault(relation["name"], set()).add(provider)

    def rank(provider: str) -> tuple[int, str]:
        return PRIORITIES.index(newest[provider][1].get("Priority", "extra")), provider

    for name, those in providers.items():
        if name not in newest:
            yield name, sorted(those, key=lambda provider: (provider != preferred.get(name), rank(provider)))


def _depends(
    paragraph: Paragraph, left_out: Set[str], versions: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Yield the groups of alternatives, without alternatives whose version does not fit."""
    for field in ("Pre-Depends", "Depends"):
        for group in PkgRelation.parse_relations(paragraph[field]) if field in paragraph else ():
            names = list(dict.fromkeys(relation["name"] for relation in group))
            if not left_out.isdisjoint(names):
                continue
            if len(names) > 1:
                names = [relation["name"] for relation in group if _fits(relation, versions)] or names
            yield tuple(names)


def _fits(relation: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Return whether the relation allows the set's version; provided names always fit."""
    have = versions.get(relation["name"])
    if have is None or relation["version"] is None:
        return True
    operator, wanted = relation["version"]
    return SATISFIES[operator](compare(have), compare(wanted))
