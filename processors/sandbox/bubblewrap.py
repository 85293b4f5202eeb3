"""The engine that builds namespaces and mounts: bubblewrap."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from processors.sandbox.model import Rootfs, SandboxError

UID_INSIDE = "1000"


def find_bubblewrap() -> str:
    """Return the path of bwrap; raises SandboxError."""
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("bubblewrap is missing: apt-get install bubblewrap")
    return found


def arguments(bubblewrap: str, rootfs: Rootfs, dev: Path, box: Path) -> list[str]:
    """Return the command line up to the command, which becomes pid 1.

    The two capabilities, in the namespaces only, let it finish the sandbox; it drops them before the program.
    """
    return [
        bubblewrap,
        *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--uid", UID_INSIDE, "--gid", UID_INSIDE, "--hostname", "box"),
        *("--as-pid-1", "--die-with-parent"),
        *("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"),
        *_mounts(rootfs),
        *("--proc", "/proc", "--dev-bind", str(dev), "/dev", "--dir", "/tmp"),  # noqa: S108
        *("--bind", str(box), "/box", "--remount-ro", "/", "--chdir", "/box", "--"),
    ]


def _mounts(rootfs: Rootfs) -> Iterator[str]:
    for target, source in rootfs.mounts.items():
        yield from ("--ro-bind", str(source), target)
    for link, text in rootfs.symlinks.items():
        yield from ("--symlink", text, link)
