"""How the launcher is asked for a sandbox: its command line, and the orders that make the root."""

import os
from pathlib import Path

from processors.sandbox.launcher import Order
from processors.sandbox.model import Rootfs


def sandbox_command(uid: int) -> list[str]:
    """Return the command line up to the descriptor of the orders; programs run as `uid` on the host."""
    return ["sandbox", str(uid), str(os.getpid())]


def root_orders(rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:
    """Return the orders that come before those of every sandbox.

    They take hold of the host's trees, put the new root over one of them, fill it, and enter it.
    """
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
