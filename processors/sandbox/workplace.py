"""A worker's place on the host: a numbered folder, locked while the worker lives, and what dead ones left."""

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

DYING_S = 20.0


@dataclass(frozen=True, slots=True)
class Workplace:
    """The place of this process."""

    number: int
    folder: Path
    """Empty at first, apart from the lock; users may pass through it."""
    lock: int

    @classmethod
    def claim(cls, state_dir: Path) -> "Workplace":
        """Clean up after dead workers and take the first free place; raises SandboxError."""
        make_passable(state_dir)
        state_dir = state_dir.resolve()  # as the kernel names it in its list of mounts
        for folder in sorted(state_dir.glob("[0-9]*"), key=lambda path: int(path.name)):
            with _Lock(folder) as lock:
                if lock.held:
                    sweep(folder)
        for number in range(PLACES):
            folder = state_dir / str(number)
            lock = _Lock(folder)
            if lock.held:
                folder.chmod(0o711)  # the users of boxes pass through it, whatever umask it was made under
                sweep(folder)  # between the two loops it may have been used
                return cls(number, folder, lock.descriptor)
        raise SandboxError(f"all {PLACES} places in {state_dir} are taken")

    def note_groups(self, paths: Sequence[Path]) -> None:
        """Write down where control groups are about to be made, so that they are found after our death."""
        (self.folder / "groups").write_text("".join(f"{path}\n" for path in paths))

    def leave(self) -> None:
        """Give the place back; boxes must be gone. The lock's file stays for the next worker."""
        sweep(self.folder)
        os.close(self.lock)


class _Lock:
    """A try at the lock of a place. The kernel releases it when the process is dead, however it died."""

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
    """Remove what a dead worker left: processes, control groups, mounts, files. The caller holds its lock."""
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
    """With all groups below, of which there are other workers' where a worker was started by another."""
    deadline = time.monotonic() + DYING_S
    for group in [Path(folder) for folder, _, _ in os.walk(parent, topdown=False)]:
        while True:
            kill_members(group)
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise SandboxError(f"{group} of a dead worker cannot be removed: {error}") from error
                if read_pids(group):
                    time.sleep(0.005)
            else:
                break


def make_passable(state_dir: Path) -> None:
    """Make the folder of all places, which all users must be able to pass through; raises SandboxError."""
    state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in (state_dir, *state_dir.resolve().parents):
        if not folder.stat().st_mode & 0o001:
            raise SandboxError(f"all users must be able to pass through {folder}: chmod o+x {folder}")
