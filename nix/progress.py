"""The steps of one installation, for clients that wait for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["evaluating", "resolving", "fetching", "unpacking", "building", "publishing"]
"""Stage of an installation. Stages begin in this order; those without work are left out. `fetching` and
`unpacking` alternate, since archives are unpacked while others are downloaded.

evaluating  an expression becomes a list of packages
resolving   packages of PyPI or npm become a list of archives
fetching    archives are downloaded
unpacking   archives that this host has not unpacked before are unpacked, and their Python modules compiled
building    the environment is made of the unpacked archives
publishing  the environment is copied into the binary cache
"""


@dataclass(frozen=True)
class Step:
    """One step of an installation."""

    stage: Stage
    done: int = 0
    """Archives of this stage that are finished."""
    total: int = 0
    """Archives of this stage; 0 if the stage does not count."""

    def __str__(self) -> str:
        """Return such as `fetching 12 of 55`, or `building`."""
        return f"{self.stage} {self.done} of {self.total}" if self.total else self.stage


Progress = Callable[[Step], None]
"""Receives each step of an installation, on the event loop's thread. Steps of one stage may be frequent."""
