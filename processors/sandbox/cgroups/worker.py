"""The group that a worker puts itself into, and with it the launchers that it starts.

Bubblewrap that loses its worker in the very moment in which it divides itself is told by nobody. Such strays
are found here, by the living worker as well as by the one that cleans up after a dead one.
"""

import os
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups.files import kill_members, move_members, read_pids, write


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """A group without limits beside the one of the stages."""

    folder: Path
    home: Path
    """Where the worker came from."""

    def enter(self) -> None:
        """Make it and move this process there; raises OSError."""
        self.folder.mkdir()
        write(self.folder / "cgroup.procs", os.getpid())

    def leave(self) -> None:
        """Move this process back, with whatever else it has started."""
        move_members(self.folder, self.home)

    def kill_strays(self, uids: Container[int]) -> None:
        """Kill processes of these users whose parent is gone."""
        members = read_pids(self.folder)
        strays = [pid for pid in members if is_stray(_status(pid), members, uids)]
        kill_members(self.folder, strays)


def is_stray(status: str, members: Container[int], uids: Container[int]) -> bool:
    """Judge by the text of /proc/PID/status."""
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if not values or values["State"].split()[0] in "ZX":
        return False
    return int(values["Uid"].split()[0]) in uids and int(values["PPid"]) not in members


def _status(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""
