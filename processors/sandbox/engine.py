"""Engine: the part of the sandbox that makes namespaces and root, before `launcher inside` does the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from processors.sandbox.model import Rootfs

Order = tuple[str, ...]
"""Words of one step for the launcher, see `read_orders` in launcher.c."""


class Engine(Protocol):
    """Way to make the namespaces and the root of a sandbox."""

    @property
    def descriptors(self) -> Sequence[int]:
        """Descriptors that the launcher needs open."""
        ...

    def command(self, uid: int, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:
        """Return the command line without the descriptor of the orders; programs run as `uid` on the host."""
        ...

    def root_orders(self, rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:
        """Return the orders that make the root, which precede those of every sandbox."""
        ...
