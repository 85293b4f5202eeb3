"""The index of a package set: what every package is and needs, one line each, in the order of their names.

A line is `name TAB json`, parsed when it is asked for. The JSON is a package (see `Package`), or the list of
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
    """Which of the distribution's repositories has it, as `codename/component`."""
    filename: str
    """Path of its archive within the repository."""
    sha256: str
    """Of the archive, hexadecimal."""
    archive_bytes: int
    installed_bytes: int
    """What it takes unpacked, by Debian's own estimate."""
    depends: tuple[tuple[str, ...], ...]
    """Of each group one is needed, the first for choice; a name may be one that others provide."""
    description: str = ""
    """One line. Indexes that were made by earlier versions have none."""


class Index:
    """Looks names up in the lines of an index."""

    def __init__(self, content: bytes) -> None:
        lines = content.decode().split("\n")[:-1]
        self._values: dict[str, Any] = dict(line.split("\t", 1) for line in lines)

    @cached_property
    def names(self) -> list[str]:
        """Every name that can be looked up, sorted."""
        return list(self._values)

    def package(self, name: str) -> Package | None:
        """Return the package of that name, not one that merely provides it."""
        value = self._value(name)
        return value if isinstance(value, Package) else None

    def candidates(self, name: str) -> list[str]:
        """Return the packages that stand for a name, best first: itself, or those that provide it."""
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
    """Make an index of `(repository, text of its Packages file)`; the highest of several versions is taken.

    Dependencies that name a package of `left_out` are dropped; `preferred` says who provides a name.
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
    """Parse a Packages file: the fields that we need are single lines, and Deb822 takes 7 s."""
    wanted = tuple(f"{field}: " for field in FIELDS + RELATIONS)
    for paragraph in text.split("\n\n"):
        lines = [line.split(": ", 1) for line in paragraph.splitlines() if line.startswith(wanted)]
        if lines:
            yield dict(lines)


def _providers(
    newest: Mapping[str, tuple[str, Paragraph]], preferred: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each name that only others provide, with these: preferred, then by priority, then by name."""
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
    """Yield the groups of alternatives, without those whose version does not fit."""
    for field in ("Pre-Depends", "Depends"):
        for group in PkgRelation.parse_relations(paragraph[field]) if field in paragraph else ():
            names = list(dict.fromkeys(relation["name"] for relation in group))
            if not left_out.isdisjoint(names):
                continue
            if len(names) > 1:
                names = [relation["name"] for relation in group if _fits(relation, versions)] or names
            yield tuple(names)


def _fits(relation: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    """Say whether the relation allows the version in the set; names that others provide always fit."""
    have = versions.get(relation["name"])
    if have is None or relation["version"] is None:
        return True
    operator, wanted = relation["version"]
    return SATISFIES[operator](compare(have), compare(wanted))
