"""Control group of a worker itself and of the launchers that it starts.

If the worker ends while bubblewrap forks, the child never receives the parent-death signal. The group makes
such orphans visible to the worker, and to another worker that cleans up after a crash.
"""

import os
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups.files import kill_members, move_members, read_pids, write


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Control group without limits, beside the group of the stages."""

    folder: Path
    """Folder of the group, made by `enter`."""
    home: Path
    """Group that the worker was started in."""

    def enter(self) -> None:
        """Make the group and move this process there.

        Raises:
            OSError: the kernel refuses the group or the move.
        """
        self.folder.mkdir()
        write(self.folder / "cgroup.procs", os.getpid())

    def leave(self) -> None:
        """Move this process, and all processes that it started, back to `home`.

        Raises:
            SandboxError: a process cannot be moved.
        """
        move_members(self.folder, self.home)

    def kill_strays(self, uids: Container[int]) -> None:
        """Kill orphans: processes of these users whose parent is not in the group."""
        members = read_pids(self.folder)
        strays = [pid for pid in members if is_stray(_status(pid), members, uids)]
        kill_members(self.folder, strays)


def is_stray(status: str, members: Container[int], uids: Container[int]) -> bool:
    """Return whether the text of /proc/PID/status is that of a live orphan of one of these users."""
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if not values or values["State"].split()[0] in "ZX":
        return False
    return int(values["Uid"].split()[0]) in uids and int(values["PPid"]) not in members


def _status(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""
