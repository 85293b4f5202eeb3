"""The index of a package set: a line for each package, sorted by name.

A line is `name TAB json`, parsed on first use. The JSON is a package (see `Package`), or the list of
the packages that provide the name, best first.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from debian.deb822 import PkgRelation
from debian.debian_support import Version

FIELDS = ("Package", "Version", "Filename", "SHA256", "Size", "Installed-Size", "Priority", "Description")
RELATIONS = ("Pre-Depends", "Depends", "Provides")
PRIORITIES = ("required", "important", "standard", "optional", "extra")

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
    """An index in memory, parsed line by line as names are looked up."""

    def __init__(self, content: bytes) -> None:
        lines = content.decode().split("\n")[:-1]
        self._values: dict[str, Any] = dict(line.split("\t", 1) for line in lines)

    @cached_property
    def names(self) -> list[str]:
        """Names of all packages and provided names, sorted."""
        return list(self._values)

    def package(self, name: str) -> Package | None:
        """Return the package `name`, or None if there is none or others only provide it."""
        value = self._value(name)
        return value if isinstance(value, Package) else None

    def candidates(self, name: str) -> list[str]:
        """Return the packages for a name, best first: the package itself, or those that provide it."""
        value = self._value(name)
        return [name] if isinstance(value, Package) else value or []

    def _value(self, name: str) -> Package | list[str] | None:
        value = self._values.get(name)
        if isinstance(value, str):
            value = json.loads(value)
            if isinstance(value, dict):
                depends = tuple(tuple(group) for group in value.pop("depends"))
                value = Package(name=name, depends=depends, **value)
            self._values[name] = value
        return value


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
