"""Settings of the sandboxes of one worker process, with their checks."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from processors.sandbox.cgroups import share
from topics.request.limits import range_of


def most_of(limit: str) -> int:
    """Return the highest value of a limit that a submission may request for a stage in a box."""
    allowed = (range_of((stage, limit)) for stage in ("compile", "run"))
    return max(int(values.ceiling) for values in allowed if values is not None)


MOST_PROCESSES = most_of("processes")
"""Highest limit on processes that a stage in a box may have."""
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
    boxes: Annotated[int, Field(gt=0)] = 64
    """Boxes that a worker has at a time, each with a user id of its own. A submission takes one, and another
    one if it has a checker, so two for each of its slots suffice."""
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
    total_processes: int = Field(default_factory=lambda settings: settings["boxes"] * MOST_PROCESSES)
    """Processes of all stages of a worker together. By default, and at least, 512 for each of `BOXES`: with
    fewer, a stage could fail because of the processes of others."""

    @model_validator(mode="after")
    def _processes_for_all_boxes(self) -> Self:
        if self.total_processes < self.boxes * MOST_PROCESSES:
            raise ValueError(
                f"total_processes must be at least {self.boxes * MOST_PROCESSES}: "
                f"{MOST_PROCESSES} in each of {self.boxes} boxes"
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
