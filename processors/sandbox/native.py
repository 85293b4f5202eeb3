"""Launcher as engine: it saves one process, two execs and the preparations of bubblewrap."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.engine import Order
from processors.sandbox.model import Rootfs


@dataclass(frozen=True, slots=True)
class Native:
    """Engine in which the launcher itself makes namespaces and root."""

    descriptors: Sequence[int] = ()

    def command(self, uid: int, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:  # noqa: ARG002
        """Return a fixed command line but for `uid`: orders describe the root."""
        return ["sandbox", str(uid), str(os.getpid())]

    def root_orders(self, rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:
        """Return orders that clone the host's trees, and mount, fill and enter the new root."""
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
