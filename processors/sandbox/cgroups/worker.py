"""Control group of a worker itself and of the launchers that it starts.

If a worker ends, its launchers receive the parent-death signal. The worker that cleans up after a crash kills
what is left in the group.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups.files import move_members, write


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
