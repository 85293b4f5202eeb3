"""Who makes the namespaces and the root of a sandbox, and leaves the rest to `launcher inside`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from processors.sandbox.model import Rootfs

Order = tuple[str, ...]
"""A step for the launcher, see `launcher.c`."""


class Engine(Protocol):
    """One way to do it."""

    @property
    def descriptors(self) -> Sequence[int]:
        """What the launcher must find open."""
        ...

    def command(self, uid: int, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:
        """The command line up to the descriptor of the orders; programs run as `uid` on the host."""
        ...

    def root_orders(self, rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:
        """The orders that come before those of every sandbox."""
        ...
