"""Bubblewrap as engine: slower than our launcher, and reviewed by more people."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.engine import Order
from processors.sandbox.launcher import FIRST_PASSED
from processors.sandbox.model import Rootfs, SandboxError

UID_INSIDE = "1000"


def find_bubblewrap() -> str:
    """Return the path of bwrap.

    Raises:
        SandboxError: bubblewrap is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("bubblewrap is missing: apt-get install bubblewrap")
    return found


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Engine that makes namespaces and mounts by bubblewrap, which executes `launcher inside` as pid 1."""

    launcher_file: int
    """Descriptor of the launcher, by which bubblewrap executes it, so that no mount reveals its path on the
    host."""
    bwrap: str
    """Path of the program bubblewrap."""

    @property
    def descriptors(self) -> Sequence[int]:
        """Descriptor of the launcher, which bubblewrap executes inside."""
        return [self.launcher_file]

    def command(self, uid: int, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:
        """Return a command that becomes the user, executes bubblewrap, and then the launcher as pid 1.

        Pid 1 needs the two capabilities, which are valid in the namespaces only, to finish the sandbox. It
        drops them before the program starts.
        """
        return [
            *("enter", str(uid), str(os.getpid()), self.bwrap),
            *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
            *("--uid", UID_INSIDE, "--gid", UID_INSIDE, "--hostname", "box"),
            *("--as-pid-1", "--die-with-parent"),
            *("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"),
            *_mounts(rootfs),
            *("--proc", "/proc", "--dev-bind", str(dev), "/dev", "--dir", "/tmp"),  # noqa: S108
            *("--bind", str(box), "/box", "--remount-ro", "/", "--chdir", "/box", "--"),
            *(f"/proc/self/fd/{FIRST_PASSED}", "inside"),
        ]

    def root_orders(self, rootfs: Rootfs, dev: Path, box: Path) -> list[Order]:  # noqa: ARG002
        """Return no orders: the command line of bubblewrap describes the root."""
        return []


def _mounts(rootfs: Rootfs) -> Iterator[str]:
    for target, source in rootfs.mounts.items():
        yield from ("--ro-bind", str(source), target)
    for link, text in rootfs.symlinks.items():
        yield from ("--symlink", text, link)
