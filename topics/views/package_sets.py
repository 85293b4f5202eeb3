"""The package sets in force, to one of which every accepted request is pinned."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from topics.catalogue import Catalogue
from topics.kafka.tail import TailConsumer
from topics.model import Model
from topics.request.package_sets import OfferedPackageSets
from topics.settings import KafkaSettings
from topics.views.view import View

DEBIAN = "debian"
"""Key of the record of the default package set, which is the only one of earlier versions."""


class PackageSetInForce(Model):
    """A record of `package-sets`: a package set that new submissions are pinned to. Key: `name`."""

    name: str
    """Name of the package set, such as `debian-13`; in the record of the default one `debian`."""
    pin: str
    """Identifier of the package set, derived from its contents."""
    index_digest: str
    """SHA-256 of the index of packages, in hexadecimal digits."""
    created_at: str
    """Time of publication: RFC 3339, UTC."""
    offered: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()
    """In the record of the default set: the names that requests may give, its own first. Each other name has
    a record of its own. Empty in records of earlier versions, whose only name is `debian`."""


_read = lru_cache(16)(PackageSetInForce.read)


def named_sets(find: Callable[[str], PackageSetInForce | None]) -> dict[str, PackageSetInForce]:
    """Return the package sets that requests may name, the default one first; none if none is in force.

    `find` returns the record of a key, or None. Each record has the name that requests give.
    """
    default = find(DEBIAN)
    if default is None:
        return {}
    first, *others = default.offered or (DEBIAN,)
    found = {name: record for name in others if (record := find(name))}
    return {first: default.replace(name=first, offered=())} | found


class PackageSets:
    """A view of the topic `package-sets`."""

    def __init__(
        self,
        settings: KafkaSettings,
        catalogue: Catalogue,
        directory: Path,
        consumer: TailConsumer | None = None,
    ) -> None:
        self._view = View(settings, catalogue.package_sets.name, directory, consumer=consumer)

    async def start(self) -> None:
        """Begin to read the topic."""
        await self._view.start()

    @property
    def in_force(self) -> PackageSetInForce | None:
        """The default package set; None until an operator has published one."""
        return self._find(DEBIAN)

    @property
    def offered(self) -> OfferedPackageSets | None:
        """The package sets that requests may name; None until an operator has published one."""
        named = named_sets(self._find)
        return OfferedPackageSets({name: record.pin for name, record in named.items()}) if named else None

    async def wait(self, timeout_s: float | None = None) -> PackageSetInForce:
        """Wait until a package set is in force, and return the default one.

        Raises:
            TimeoutError: no package set was published within `timeout_s`.
        """
        raw = await self._view.wait_for(DEBIAN, lambda value: value is not None, timeout_s)
        assert raw is not None
        return _read(raw)

    async def close(self) -> None:
        """Stop reading and close the table."""
        await self._view.close()

    def _find(self, name: str) -> PackageSetInForce | None:
        raw = self._view.get(name)
        return None if raw is None else _read(raw)
