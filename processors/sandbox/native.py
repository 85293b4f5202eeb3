"""Command line of the launcher for a sandbox, and the orders that make the root."""

import os
from pathlib import Path

from processors.sandbox.launcher import Order
from processors.sandbox.model import Rootfs


def sandbox_command(uid: int) -> list[str]:
    """Return the command line up to the descriptor of the orders; programs run as `uid` on the host."""
    return ["sandbox", str(uid), str(os.getpid())]


def root_orders(rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:
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
