"""A set of dependencies as it is now (`dependencies.store`), and as a builder gets it (`….queue`)."""

from typing import Literal

from pydantic import Field
from pydantic_core import from_json

from topics.dependencies.artifacts import Resolution
from topics.dependencies.facts import Fault
from topics.fold import QueuedWork
from topics.model import Model
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies

FOLD_VERSION = 2
"""Raised whenever the fold would make another state of the same log: stores are then rebuilt."""

Status = Literal["queued", "started", "installed", "failed", "gone"]
"""`gone`: installed once, then evicted or lost; the next request starts a new generation."""


class EnvironmentState(Model):
    """The whole object."""

    id: str
    fold_version: int = FOLD_VERSION
    generation: int = 1
    status: Status
    attempt: int = 1
    charged_attempts: int = 0
    host_faults: int = 0
    allowed_attempts: int = 3
    allowed_host_faults: int = 10
    requested_at_ms: int
    """Requests that were appended until then are answered by this state; it never goes back."""
    created_at: str
    finished_at: str | None = None
    expires_at_ms: int | None = None
    """From when on a request after a failure tries again."""
    dependencies: Dependencies
    package_set: str
    system: str
    limits: DependenciesLimits
    builder: str | None = None
    host: str | None = None
    """Where they were built."""
    published: bool = False
    """Whether every host can fetch them, so that no eviction takes them away."""
    store_path: str | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    packages: tuple[str, ...] = ()
    resolution: Resolution = ()
    """Of what was installed first; later generations install the same."""
    size_bytes: int | None = None
    wall_time_s: float | None = None
    fault: Fault | None = None
    explanation: str | None = None
    log: str = ""

    @property
    def final(self) -> bool:
        """Whether nobody is to work on it now."""
        return self.status in {"installed", "failed", "gone"}

    def may_do_with(self, limits: DependenciesLimits) -> bool:
        """Whether it failed for a limit, of which `limits` allow more."""
        return self.fault == "limit" and self.limits.joined(limits) != self.limits


def unfinished(stored: bytes) -> str | None:
    """The status in a row of `dependencies.store`, of a set that somebody is to build, or builds."""
    try:
        return {"queued": "queued", "started": "started"}.get(from_json(stored)["status"])
    except (ValueError, KeyError, TypeError):
        return None


class Build(QueuedWork):
    """A record of `dependencies.queue`: all that a builder needs."""

    generation: int
    dependencies: Dependencies
    package_set: str
    system: str
    limits: DependenciesLimits
    resolution: Resolution = ()
    """What to install, where these were installed before: nothing is resolved anew."""
