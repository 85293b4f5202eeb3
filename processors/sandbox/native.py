"""The launcher itself as engine: one process, two execs and bubblewrap's own preparations less."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.engine import Order
from processors.sandbox.model import Rootfs


@dataclass(frozen=True, slots=True)
class Native:
    """Makes namespaces and root by itself."""

    descriptors: Sequence[int] = ()

    def command(self, uid: int, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:  # noqa: ARG002
        """All that differs between sandboxes is said by orders."""
        return ["sandbox", str(uid), str(os.getpid())]

    def root_orders(self, rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:
        """Take hold of the host's trees, put the new root over one of them, fill it, and enter it."""
        return [
            *(("bind-read-only", str(source), target) for target, source in rootfs.mounts.items()),
            ("bind-devices", str(dev), "/dev"),
            ("bind", str(box), "/box"),
            ("begin-root", str(box)),
            *(("link", text, link) for link, text in rootfs.symlinks.items()),
            ("proc", "/proc"),
            ("folder", "/tmp"),  # noqa: S108
            ("end-root", "/box"),
        ]
