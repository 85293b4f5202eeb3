"""States of sets of dependencies (`dependencies.store`), and records for builders (`dependencies.queue`)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field
from pydantic_core import from_json

from topics.dependencies.artifacts import Resolution
from topics.dependencies.facts import Fault
from topics.fold import QueuedWork
from topics.model import Model
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies

FOLD_VERSION = 2
"""Version of the fold; it is raised if the same log would give another state. Stores are then rebuilt."""

Status = Literal["queued", "started", "installed", "failed", "gone"]
"""Status of an environment; `gone` was installed, then evicted or lost: a request starts a new generation."""


class EnvironmentState(Model):
    """State of a set of dependencies, as folded from its facts."""

    id: str
    """Id of the dependencies: `dependencies.id` of the submissions that need them."""
    fold_version: int = FOLD_VERSION
    """Version of the fold that made this state."""
    generation: int = 1
    """Number of the generation, from 1; a request for an environment that is gone starts a new one."""
    status: Status
    """Progress: `queued`, `started` (a builder has it), `installed`, `failed`, `gone` (evicted or lost)."""
    attempt: int = 1
    """Number of the present attempt, from 1, across generations."""
    charged_attempts: int = 0
    """Attempts of this generation that ended by an expired lease, except those that waited for their turn."""
    host_faults: int = 0
    """Attempts of this generation that ended by a host error, or by an expired lease before their turn."""
    allowed_attempts: int = 3
    """Attempts that may be charged before the build is given up."""
    allowed_host_faults: int = 10
    """Attempts that may end by faults of a host before the build is given up."""
    requested_at_ms: int
    """Append time up to which requests are answered by this state: Unix time in milliseconds. It never
    decreases."""
    created_at: str
    """Append time of the generation's first request: RFC 3339, UTC."""
    finished_at: str | None = None
    """Append time of the end of the build: RFC 3339, UTC; None before."""
    expires_at_ms: int | None = None
    """Time from which a request after a failure starts another build: Unix time in milliseconds."""
    dependencies: Dependencies
    """Packages of the environment, in the form of a request."""
    package_set: str
    """Pin of the package set that the packages are taken from."""
    system: str
    """Nix's name of the platform, such as `x86_64-linux`."""
    limits: DependenciesLimits
    """Limits of evaluation and build, the largest of all requests for it."""
    builder: str | None = None
    """Cache builder of the present or last attempt."""
    waiting: Annotated[bool, Field(exclude_if=lambda waiting: not waiting)] = False
    """Whether the present attempt waits for its turn at its builder, and nothing of it runs."""
    host: str | None = None
    """Host that built the environment."""
    published: bool = False
    """Whether every host can fetch the environment from the binary cache, so that an eviction does not end
    it."""
    store_path: str | None = None
    """Store path of the environment, below `/nix/store`."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Environment variables that the expression sets."""
    packages: tuple[str, ...] = ()
    """All installed packages: the requested ones and those that they need."""
    resolution: Resolution = ()
    """Archives of the first installation's pinned packages; later generations install the same."""
    size_bytes: int | None = None
    """Size of the environment in bytes."""
    wall_time_s: float | None = None
    """Seconds that the last build took."""
    fault: Fault | None = None
    """Cause of a failure: `theirs` (the dependencies), `limit` (it was exceeded), `ours` (the system)."""
    explanation: str | None = None
    """Reason of a failure, for people."""
    log: str = ""
    """End of the build's log, if the build failed."""
    owner: Annotated[str, Field(exclude_if=lambda owner: not owner)] = ""
    """Owner of the generation's first request, with whose other builds this one takes turns; empty if the
    operator requested it. Absent over HTTP."""

    @property
    def final(self) -> bool:
        """Whether no attempt is queued or running."""
        return self.status in {"installed", "failed", "gone"}

    def failed_below(self, limits: DependenciesLimits) -> bool:
        """Return whether the build exceeded a limit, and `limits` allow more."""
        return self.fault == "limit" and self.limits.joined(limits) != self.limits


def unfinished_by_owner(stored: bytes) -> str | None:
    """Return status and owner in a row of `dependencies.store`, if the status is `queued` or `started`.

    Return None for all other rows. `unfinished_in` and `unfinished_of` take counts of the results.
    """
    try:
        row = from_json(stored)
        return f"{row['status']} {row.get('owner', '')}" if row["status"] in {"queued", "started"} else None
    except (ValueError, KeyError, TypeError):
        return None


def unfinished_in(status: Literal["queued", "started"], counts: Mapping[str, int]) -> int:
    """Return how many of the rows that were counted by `unfinished_by_owner` have a status."""
    return sum(count for label, count in counts.items() if label.partition(" ")[0] == status)


def unfinished_of(owner: str, count: Callable[[str], int]) -> int:
    """Return how many rows are of an owner; `count` returns how many have a result of that function."""
    return count(f"queued {owner}") + count(f"started {owner}")


class Build(QueuedWork):
    """A record of `dependencies.queue`, with everything that a builder needs to start."""

    generation: int
    dependencies: Dependencies
    package_set: str
    system: str
    limits: DependenciesLimits
    resolution: Resolution = ()
    """Archives to install, if the dependencies were installed before; then nothing is resolved again."""
    owner: Annotated[str, Field(exclude_if=lambda owner: not owner)] = ""
    """Owner with whose other builds this one takes turns; empty if the operator requested it."""
