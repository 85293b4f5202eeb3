"""Facts about sets of dependencies; each is a record on `dependencies.events` whose key is the set's id."""

from typing import Annotated, Literal

from pydantic import Field

from topics.dependencies.artifacts import Resolution
from topics.fold import ProgressFact
from topics.model import Model
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies

Fault = Literal["theirs", "limit", "ours"]
"""Cause of a failure: the dependencies themselves, a limit that was exceeded, or an error of the system."""


class Requested(Model):
    """A worker needs an environment with these dependencies."""

    dependencies: Dependencies
    """Packages to install, in the form of a request."""
    package_set: str
    """Pin of the package set that the packages are taken from."""
    system: str
    """Nix's name of the platform, such as `x86_64-linux`."""
    limits: DependenciesLimits
    """Limits of evaluation and build."""
    allowed_attempts: int = 3
    """Attempts that may be charged before the build is given up."""
    allowed_host_faults: int = 10
    """Attempts that may end by faults of a host before the build is given up."""
    owner: Annotated[str, Field(exclude_if=lambda owner: not owner)] = ""
    """Owner with whose other builds this one takes turns: `key/` and the id of the API key, `no-key` without
    one (over Kafka as well), or empty if the operator requested it."""


class Started(ProgressFact):
    """A cache builder started the attempt; or the attempt began or ended to wait there for its turn."""

    attempt: int
    """Number of the attempt, from 1."""
    builder: str
    """Name of the cache builder process that has the attempt."""
    waiting: Annotated[bool, Field(exclude_if=lambda waiting: not waiting)] = False
    """Whether the attempt waits for its turn, so that nothing of it runs. An attempt that is lost meanwhile
    is not charged."""


class Installed(Model):
    """The environment is installed in the Cache of a host."""

    attempt: int
    """Number of the attempt, from 1."""
    builder: str
    """Name of the cache builder process that has the attempt."""
    host: str
    """Host that built the environment."""
    store_path: str
    """Store path of the environment, below `/nix/store`."""
    variables: dict[str, str]
    """Environment variables that the expression sets."""
    packages: tuple[str, ...]
    """All installed packages: the requested ones and those that they need."""
    size_bytes: int
    """Size of the environment in bytes."""
    wall_time_s: float
    """Seconds that the build took."""
    published: bool = False
    """Whether every host can fetch the environment from the binary cache."""
    resolution: Resolution = ()
    """Archives that the packages of PyPI and npm resolved to; later builds install the same."""


class Failed(Model):
    """The dependencies could not be installed."""

    attempt: int
    """Number of the attempt, from 1."""
    builder: str
    """Name of the cache builder process that has the attempt."""
    fault: Fault
    """Cause: `theirs` (the dependencies), `limit` (a limit was exceeded), `ours` (the system)."""
    explanation: str
    """Reason of the failure, for people."""
    log: str
    """End of the build's log."""
    wall_time_s: float
    """Seconds until the build failed."""
    expires_s: float
    """Seconds from this fact's append time after which a new request starts another build."""


class HandedBack(Model):
    """The builder gave the attempt up, as it stops or its host has an error. The attempt is never charged."""

    attempt: int
    """Number of the attempt, from 1."""
    builder: str
    """Name of the cache builder process that has the attempt."""
    reason: str
    """Reason for which the builder gave up, for people."""
    host_fault: bool = False
    """Whether an error of the host was the reason."""


class LeaseExpired(Model):
    """The lease of the attempt was not renewed in time."""

    attempt: int
    """Number of the attempt, from 1."""
    checker: str
    """Name of the health checker that found the lease expired."""


class Evicted(Model):
    """A host removed an environment from its Cache, to free disk space."""

    generation: int
    """Generation of the environment, from 1; each build after an eviction or a loss starts a new one."""
    host: str
    """Host whose Cache no longer has the environment."""


class Lost(Model):
    """A host needs an environment that it neither has nor can fetch."""

    generation: int
    """Generation of the environment, from 1; each build after an eviction or a loss starts a new one."""
    host: str
    """Host whose Cache no longer has the environment."""
    reason: str = ""
    """Reason why the environment was found missing, for people."""


DependenciesFact = Requested | Started | Installed | Failed | HandedBack | LeaseExpired | Evicted | Lost

FACTS: dict[str, type[DependenciesFact]] = {
    "envicutor.dependencies.requested.v1": Requested,
    "envicutor.dependencies.started.v1": Started,
    "envicutor.dependencies.installed.v1": Installed,
    "envicutor.dependencies.failed.v1": Failed,
    "envicutor.dependencies.handed_back.v1": HandedBack,
    "envicutor.dependencies.lease_expired.v1": LeaseExpired,
    "envicutor.dependencies.evicted.v1": Evicted,
    "envicutor.dependencies.lost.v1": Lost,
}
"""Models of the facts, by CloudEvents type."""
