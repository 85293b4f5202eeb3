"""Settings of the sandboxes of one worker process, with their checks."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from processors.sandbox.cgroups import share
from processors.sandbox.model import SandboxError
from topics.settings import SubmissionSettings


def most_of(limit: str) -> int:
    """Return the highest value of a limit that a submission may request for a stage in a box."""
    ceilings = SubmissionSettings().ceilings
    return int(max(getattr(ceilings.compile, limit), getattr(ceilings.run, limit)))


BOXES_OF_A_SLOT = 2
"""Boxes that a submission takes at most: one for its program, and one for its checker."""
PLACES = 256
"""Workers that can run on one host at a time."""
MAX_UID = 2**32 - 2
"""Highest user id of Linux."""


class SandboxSettings(BaseSettings):
    """Settings of the sandboxes of one worker process; all workers of a host may have the same."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_SANDBOX_", use_attribute_docstrings=True)

    state_dir: Path = Path("/run/envicutor/sandboxes")
    """Folder of boxes and locks. All workers of a host share it, so that each can clean up after workers that
    were killed."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """Folder of the compiled launcher, on a file system that is not mounted noexec."""
    first_uid: Annotated[int, Field(ge=1000)] = 1_900_000_000
    """First user id of the boxes. Worker n of a host uses the ids from `FIRST_UID + n * BOXES` on, up to
    `FIRST_UID + 256 * BOXES - 1` in all, which must be free, and exist in the worker's user namespace."""
    boxes: Annotated[int, Field(gt=0)] = Field(
        default_factory=lambda: max(64, BOXES_OF_A_SLOT * share.processors())
    )
    """Boxes that a worker has at a time, each with a user id of its own. A submission takes one, and another
    one if it has a checker. So a worker with fewer than two for each of its slots does not start. By default
    64, or, if that is more, two for each CPU that it may use."""
    prepared: Annotated[int, Field(ge=0)] = 2
    """Sandboxes that a worker prepares before there are programs for them; each has a waiting process
    and takes some 200 KiB of kernel memory. `BOXES` bounds their number."""
    total_memory_bytes: Annotated[int, Field(gt=0)] = Field(
        default_factory=lambda: share.left_for_stages(share.memory_limit())
    )
    """Memory of all stages of a worker together, and so the largest `memory_bytes` that it can run. By
    default four fifths of the machine's memory, or, if that is less, the limit of the worker's own
    control group minus 256 MiB for the worker itself. A worker with a larger value than its control group
    allows does not start. See [sandbox.md](sandbox.md#what-a-host-must-offer)."""
    total_processes: int = Field(default_factory=lambda settings: settings["boxes"] * most_of("processes"))
    """Processes of all stages of a worker together. By default, and at least, the highest limit on
    `processes` (512) for each of `BOXES`: with fewer, a stage could fail because of the processes of
    others."""

    def check_slots(self, slots: int) -> None:
        """Check that there are boxes for submissions in all slots of a worker.

        Raises:
            SandboxError: there are not; the message names how many are needed.
        """
        needed = BOXES_OF_A_SLOT * slots
        if needed > self.boxes:
            raise SandboxError(
                f"{slots} slots need {needed} boxes, for programs and their checkers, and have {self.boxes}: "
                f"set ENVICUTOR_SANDBOX_BOXES to {needed}, or fewer ENVICUTOR_WORKER_SLOTS"
            )

    @model_validator(mode="after")
    def _processes_for_all_boxes(self) -> Self:
        most = most_of("processes")
        if self.total_processes < self.boxes * most:
            raise ValueError(
                f"total_processes must be at least {self.boxes * most}: {most} in each of {self.boxes} boxes"
            )
        return self

    @model_validator(mode="after")
    def _users_of_all_places(self) -> Self:
        last = self.first_uid + PLACES * self.boxes - 1
        if last > MAX_UID:
            raise ValueError(
                f"first_uid must be at most {self.first_uid - (last - MAX_UID)}: {PLACES} workers of "
                f"{self.boxes} boxes need user ids up to first_uid + {PLACES * self.boxes - 1}, and the "
                f"highest one is {MAX_UID}"
            )
        return self
