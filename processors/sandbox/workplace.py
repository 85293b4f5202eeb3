"""Place of a worker on the host: a numbered folder that is locked while the worker runs.

Each worker also cleans up the places of workers that crashed.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox import mounts
from processors.sandbox.cgroups.files import kill_members, read_pids
from processors.sandbox.model import SandboxError
from processors.sandbox.settings import PLACES

KILL_S = 20.0
"""Deadline for killing the processes in a control group of a crashed worker."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Numbered folder, and its lock, of this process."""

    number: int
    folder: Path
    """Folder that holds only the lock at first; all users may pass through it."""
    lock: int
    """Descriptor of the locked file."""

    @classmethod
    def claim(cls, state_dir: Path) -> "Workplace":
        """Clean up after crashed workers and lock the first free place.

        Raises:
            SandboxError: all places are locked, or a process of a crashed worker cannot be killed.
        """
        make_passable(state_dir)
        state_dir = state_dir.resolve()  # as the kernel writes it in its list of mounts
        for folder in sorted(state_dir.glob("[0-9]*"), key=lambda path: int(path.name)):
            with _Lock(folder) as lock:
                if lock.held:
                    sweep(folder)
        for number in range(PLACES):
            folder = state_dir / str(number)
            lock = _Lock(folder)
            if lock.held:
                folder.chmod(0o711)  # users of boxes pass through it; the umask may have been stricter
                sweep(folder)  # a worker may have used it and crashed between the two loops
                return cls(number, folder, lock.descriptor)
        raise SandboxError(f"all {PLACES} places in {state_dir} are taken")

    def note_groups(self, paths: Sequence[Path]) -> None:
        """Record the paths of control groups that will be made, so that `sweep` finds them after a crash."""
        (self.folder / "groups").write_text("".join(f"{path}\n" for path in paths))

    def leave(self) -> None:
        """Clean up and unlock the place; all boxes must be closed. The file of the lock stays."""
        sweep(self.folder)
        os.close(self.lock)


class _Lock:
    """Attempt to lock a place. The kernel releases the lock when the process ends, also after a crash."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o711, exist_ok=True)
        self.descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except BlockingIOError:
            os.close(self.descriptor)
            self.held = False

    def __enter__(self) -> "_Lock":
        return self

    def __exit__(self, *_: object) -> None:
        if self.held:
            os.close(self.descriptor)


def sweep(folder: Path) -> None:
    """Remove the processes, control groups, mounts and files in a place whose lock the caller holds.

    Raises:
        SandboxError: a process in a control group cannot be killed.
    """
    note = folder / "groups"
    if note.exists():
        for line in note.read_text().splitlines():
            _remove_groups(Path(line))
    for point in mounts.mounts_below(folder):
        mounts.unmount(point)
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != "lock":
            left.unlink()


def _remove_groups(parent: Path) -> None:
    """Remove a group and all groups below, among which are those of workers that this worker started."""
    deadline = time.monotonic() + KILL_S
    for group in [Path(folder) for folder, _, _ in os.walk(parent, topdown=False)]:
        while True:
            kill_members(group)
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise SandboxError(f"{group} of a crashed worker cannot be removed: {error}") from error
                if read_pids(group):
                    time.sleep(0.005)
            else:
                break


def make_passable(state_dir: Path) -> None:
    """Make the folder of all places, and check that all users can pass through it.

    Raises:
        SandboxError: a folder above is closed to other users.
    """
    state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in (state_dir, *state_dir.resolve().parents):
        if not folder.stat().st_mode & 0o001:
            raise SandboxError(f"all users must be able to pass through {folder}: chmod o+x {folder}")
