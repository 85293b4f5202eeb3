"""The package set in force, to which every accepted request is pinned."""

from functools import lru_cache
from pathlib import Path

from topics.catalogue import Catalogue
from topics.kafka.tail import TailConsumer
from topics.model import Model
from topics.settings import KafkaSettings
from topics.views.view import View

DEBIAN = "debian"


class PackageSetInForce(Model):
    """A record of `package-sets`: the package set that new submissions are pinned to. Key: `name`."""

    name: str
    """Name of the package set: `debian`, the only one."""
    pin: str
    """Name of the package set, derived from its contents."""
    index_digest: str
    """SHA-256 of the index of packages, in hexadecimal digits."""
    created_at: str
    """Time of publication: RFC 3339, UTC."""


_read = lru_cache(1)(PackageSetInForce.read)


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
        """The package set in force; None until an operator has published one."""
        raw = self._view.get(DEBIAN)
        return None if raw is None else _read(raw)

    async def wait(self, timeout_s: float | None = None) -> PackageSetInForce:
        """Wait until a package set is in force, and return it.

        Raises:
            TimeoutError: no package set was published within `timeout_s`.
        """
        raw = await self._view.wait_for(DEBIAN, lambda value: value is not None, timeout_s)
        assert raw is not None
        return _read(raw)

    async def close(self) -> None:
        """Stop reading and close the table."""
        await self._view.close()
