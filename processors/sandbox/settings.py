"""Settings of the sandboxes of one worker."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from processors.sandbox.cgroups import share
from topics.limits import range_of


def most_of(limit: str) -> int:
    """Return the highest value that any stage in a box may have for a limit."""
    allowed = (range_of((stage, limit)) for stage in ("compile", "run"))
    return max(int(values.ceiling) for values in allowed if values is not None)


MOST_PROCESSES = most_of("processes")


PLACES = 256
"""Workers that can run on a host at a time."""
MAX_UID = 2**32 - 2
"""The kernel has no higher user id."""


class SandboxSettings(BaseSettings):
    """Settings of the sandboxes of one worker process; several workers of a host may share them."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_SANDBOX_")

    state_dir: Path = Path("/run/envicutor/sandboxes")
    """Boxes and locks; all workers of a host share it, so that each can clean up after dead ones."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """Where the launcher is kept once it is compiled; on a file system that is not mounted noexec."""
    first_uid: Annotated[int, Field(ge=1000)] = 1_900_000_000
    """Worker n of a host gives its boxes the user ids from first_uid + n * boxes on, which must be free. The
    highest is first_uid + 256 * boxes - 1."""
    boxes: Annotated[int, Field(gt=0)] = 64
    """Boxes at a time, each with a user id of its own."""
    total_memory_bytes: Annotated[int, Field(gt=0)] = Field(
        default_factory=lambda: share.left_for_stages(share.memory_limit())
    )
    """All stages of the worker together. By default four fifths of the machine's memory, or, if that is less,
    what the limit of the worker's own control group leaves beside 256 MiB for the worker itself. No stage may
    have more, and more than the control group allows is refused at the start."""
    total_processes: int = Field(default_factory=lambda settings: settings["boxes"] * MOST_PROCESSES)
    """All stages of the worker together; what `boxes` can have by default, and not less.

    Else one stage would be refused processes, and be blamed for that, because of others.
    """

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
