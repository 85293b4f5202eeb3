"""Pages of a simple index (PEP 503 and 691): which versions of a project an environment can install."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Annotated

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nix.errors import CacheError

FILES = 50_000
"""Most files that a page may list."""
_LEGACY = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
"""Minor version of glibc 2 that each older platform tag stands for (PEP 600)."""


class ListedFile(BaseModel):
    """File of a project, as the index lists it."""

    model_config = ConfigDict(frozen=True)

    filename: Annotated[str, Field(max_length=1000)]
    requires_python: Annotated[str | None, Field(alias="requires-python", max_length=1000)] = None
    yanked: bool | str = False


class _Page(BaseModel):
    files: Annotated[tuple[ListedFile, ...], Field(max_length=FILES)]


@dataclass(frozen=True)
class WheelTarget:
    """Properties of an environment that a wheel must fit: its Python, C library and machine."""

    python: str
    """Version of Python, such as 3.11.2."""
    glibc: str
    """Version of glibc, such as 2.36."""
    machine: str
    """Name of the architecture by the kernel, such as `x86_64`."""

    def tags(self) -> frozenset[Tag]:
        """Return the tags of the wheels that fit."""
        major, minor = map(int, self.python.split(".")[:2])
        newest = int(self.glibc.split(".")[1])
        platforms = [f"manylinux_2_{number}_{self.machine}" for number in range(newest, 4, -1)]
        platforms += [f"{name}_{self.machine}" for name, least in _LEGACY.items() if least <= newest]
        platforms.append(f"linux_{self.machine}")
        interpreter = f"cp{major}{minor}"
        return frozenset(
            (
                *cpython_tags((major, minor), [interpreter], platforms),
                *compatible_tags((major, minor), interpreter, platforms),
            )
        )


def installable(page: bytes, target: WheelTarget) -> tuple[str, ...]:
    """Return the versions of a project with a wheel that fits and was not withdrawn, the newest first.

    Raises:
        CacheError: the page is no page of a simple index.
    """
    tags = target.tags()
    found = {version for file in _files(page) if (version := _version(file, target.python, tags))}
    return tuple(map(str, sorted(found, reverse=True)))


def _version(file: ListedFile, python: str, tags: frozenset[Tag]) -> Version | None:
    """Return the version of a wheel that can be installed, None for any other file."""
    if file.yanked is not False or not _allows(file.requires_python, python):
        return None
    try:
        _, version, _, fits = parse_wheel_filename(file.filename)
    except InvalidWheelFilename:
        return None
    return None if tags.isdisjoint(fits) else version


def _allows(requires_python: str | None, python: str) -> bool:
    try:
        return requires_python is None or SpecifierSet(requires_python).contains(python)
    except InvalidSpecifier:
        return True  # as pip does


def _files(page: bytes) -> Iterable[ListedFile]:
    if not page.lstrip().startswith(b"{"):
        return _of_html(page.decode(errors="replace"))
    try:
        return _Page.model_validate_json(page).files
    except ValidationError:
        raise CacheError("its page is no page of a simple index (PEP 691)") from None


def _of_html(page: str) -> Iterator[ListedFile]:
    links = _Links()
    try:
        links.feed(page)
    except AssertionError:  # HTMLParser's error for a declaration such as <![foo bar]>
        raise CacheError("its page is no page of a simple index (PEP 503)") from None
    return iter(links.files)


class _Links(HTMLParser):
    """Reader of the links of a page in HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[ListedFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        path = re.split(r"[?#]", given.get("href") or "")[0]
        if tag == "a" and path and len(self.files) < FILES:
            requires = (given.get("data-requires-python") or "")[:1000] or None
            described = {"requires-python": requires, "yanked": "data-yanked" in given}
            self.files.append(ListedFile(filename=path.rpartition("/")[2][:1000], **described))
