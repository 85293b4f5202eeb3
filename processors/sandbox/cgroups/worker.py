"""The group that a worker puts itself into, and with it the launchers that it starts.

A launcher dies with its worker. The worker that cleans up after a dead one kills what is left in the group.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox.cgroups.files import move_members, write


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
