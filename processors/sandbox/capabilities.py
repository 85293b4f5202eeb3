"""Capabilities that workers and cache builders need, each checked by an operation that requires it.

`/proc/self/status` is not enough: a user namespace, a system call filter or a security module may make a
capability useless. Only the operation itself shows that.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from processors.sandbox import mounts
from processors.sandbox.model import SandboxError

OTHER_UID = 65534
"""User id other than root, for trials. They touch no file or process that this user already has."""
TRIAL_S = 60.0
"""Timeout of a trial."""


class Capability(NamedTuple):
    """Capability, its use, and a trial of that use."""

    name: str
    """Name of the capability without the prefix `CAP_`."""
    use: str
    """Clause for the error message: what the capability is needed for."""
    attempt: Callable[[Path], None]
    """Trial in an empty folder; fails with OSError, SandboxError or subprocess.SubprocessError."""


def _set_group(_: Path) -> None:
    subprocess.run(["/bin/true"], group=OTHER_UID, extra_groups=(), check=True, timeout=TRIAL_S)


def _set_user(_: Path) -> None:
    subprocess.run(["/bin/true"], user=OTHER_UID, check=True, timeout=TRIAL_S)


def _kill(_: Path) -> None:
    # A process that cannot be killed ends at the end of its standard input.
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=OTHER_UID) as process:
        process.kill()


def _change_owner(folder: Path) -> None:
    _file_of_another(folder)


def _change_what_is_anothers(folder: Path) -> None:
    file = _file_of_another(folder)
    file.chmod(0o755)
    os.utime(file, (1, 1))


def _write_where_another_may(folder: Path) -> None:
    folder.chmod(0o700)
    os.chown(folder, OTHER_UID, OTHER_UID)
    try:
        _file_of_another(folder)
    finally:
        os.chown(folder, 0, 0)  # otherwise it could not be removed


def _mount(folder: Path) -> None:
    mounts.mount("tmpfs", folder, mounts.MS_NOSUID, "size=64k")
    mounts.unmount(folder)


def _change_root(_: Path) -> None:
    subprocess.run(["/usr/sbin/chroot", "/", "/bin/true"], check=True, capture_output=True, timeout=TRIAL_S)


def _file_of_another(folder: Path) -> Path:
    file = folder / "file"
    file.touch()
    os.chown(file, OTHER_UID, OTHER_UID)
    return file


FOR_SANDBOXES: Sequence[Capability] = (
    Capability("SETGID", "each program runs as a group of its own", _set_group),
    Capability("SETUID", "each program runs as a user of its own", _set_user),
    Capability("KILL", "programs of other users are ended at their limits", _kill),
    Capability("CHOWN", "the files of a box are given to its user", _change_owner),
    Capability(
        "FOWNER",
        "modes and times of files of a box's user are set, such as those of compiled programs",
        _change_what_is_anothers,
    ),
    Capability(
        "DAC_OVERRIDE", "files are put into and read from folders of a box's user", _write_where_another_may
    ),
    Capability("SYS_ADMIN", "boxes are mounted and namespaces are made", _mount),
)
"""Capabilities of workers. Those that the trials of others need come first."""
FOR_BUILDS: Sequence[Capability] = (
    *FOR_SANDBOXES,
    Capability("SYS_CHROOT", "Nix builds in a root of its own", _change_root),
)
"""Capabilities of cache builders."""


def check(needed: Sequence[Capability]) -> str:
    """Try all capabilities and return their names, separated by commas.

    Raises:
        SandboxError: a capability is missing; the message names the first one.
    """
    for capability in needed:
        with TemporaryDirectory(prefix="envicutor-") as folder:
            try:
                capability.attempt(Path(folder))
            except (OSError, SandboxError, subprocess.SubprocessError) as error:
                raise SandboxError(_missing(capability, needed, error)) from error
    return ", ".join(capability.name for capability in needed)


def _missing(capability: Capability, needed: Sequence[Capability], error: Exception) -> str:
    names = [each.name for each in needed]
    return (
        f"the capability {capability.name}, with which {capability.use}, is missing: {error}. "
        f"Give this process all of {' '.join(names)}: in Docker with "
        f"{' '.join(f'--cap-add {name}' for name in names)}, under systemd with "
        f"CapabilityBoundingSet={' '.join(f'CAP_{name}' for name in names)}, in Kubernetes in "
        "securityContext.capabilities.add"
    )
