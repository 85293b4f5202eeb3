"""The package set in force, which every request is accepted under."""

from functools import lru_cache
from pathlib import Path

from topics.catalogue import Catalogue
from topics.model import Model
from topics.settings import KafkaSettings
from topics.views.view import View

DEBIAN = "debian"


class PackageSetInForce(Model):
    """A record of `package-sets`. Key: the name."""

    name: str
    pin: str
    index_digest: str
    created_at: str


_read = lru_cache(1)(PackageSetInForce.read)


class PackageSets:
    """A view of the topic `package-sets`."""

    def __init__(self, settings: KafkaSettings, catalogue: Catalogue, directory: Path) -> None:
        self._view = View(settings, catalogue.package_sets.name, directory)

    async def start(self) -> None:
        """Begin to read."""
        await self._view.start()

    @property
    def in_force(self) -> PackageSetInForce | None:
        """None until an operator has published one."""
        raw = self._view.get(DEBIAN)
        return None if raw is None else _read(raw)

    async def wait(self, timeout_s: float | None = None) -> PackageSetInForce:
        """The one in force, as soon as there is one.

        Raises:
            TimeoutError: there is none within `timeout_s`.
        """
        raw = await self._view.wait_for(DEBIAN, lambda value: value is not None, timeout_s)
        assert raw is not None
        return _read(raw)

    async def close(self) -> None:
        """Stop reading."""
        await self._view.close()
