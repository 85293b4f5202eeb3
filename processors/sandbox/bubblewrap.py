"""Bubblewrap as engine: slower, and looked at by more eyes than our launcher."""

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
    """Return the path of bwrap; raises SandboxError."""
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("bubblewrap is missing: apt-get install bubblewrap")
    return found


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Makes namespaces and mounts as its command line says, and executes `launcher inside` as pid 1."""

    launcher_file: int
    """The launcher, open: inside it is reached by that, so that no mount tells where it is on the host."""
    bwrap: str

    @property
    def descriptors(self) -> Sequence[int]:
        """It is executed inside."""
        return [self.launcher_file]

    def command(self, uid: int, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:
        """Become the user, then bubblewrap, then pid 1.

        The two capabilities, in the namespaces only, let pid 1 finish the sandbox; it drops them before the
        program.
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
        """None: its command line said everything."""
        return []


def _mounts(rootfs: Rootfs) -> Iterator[str]:
    for target, source in rootfs.mounts.items():
        yield from ("--ro-bind", str(source), target)
    for link, text in rootfs.symlinks.items():
        yield from ("--symlink", text, link)
