"""What can happen to a set of dependencies; each fact is a record on `dependencies.events`."""

from typing import Literal

from topics.dependencies.artifacts import Resolution
from topics.fold import ProgressFact
from topics.model import Model
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies

Fault = Literal["theirs", "limit", "ours"]
"""Whose a failure is: the dependencies' own, a limit that they hit, or ours."""


class Requested(Model):
    """Somebody needs them."""

    dependencies: Dependencies
    package_set: str
    system: str
    limits: DependenciesLimits
    allowed_attempts: int = 3
    allowed_host_faults: int = 10


class Started(ProgressFact):
    """A builder took the attempt."""

    attempt: int
    builder: str


class Installed(Model):
    """They are in the Cache."""

    attempt: int
    builder: str
    host: str
    store_path: str
    variables: dict[str, str]
    """Environment variables that the expression sets."""
    packages: tuple[str, ...]
    """Everything that was installed, resolved."""
    size_bytes: int
    wall_time_s: float
    published: bool = False
    """Whether every host can fetch them from the binary cache."""
    resolution: Resolution = ()
    """What the packages of PyPI and npm came to; building them again installs the same."""


class Failed(Model):
    """They cannot be installed."""

    attempt: int
    builder: str
    fault: Fault
    explanation: str
    log: str
    wall_time_s: float
    expires_s: float
    """From when on a new request tries again, counted from this fact's append time."""


class HandedBack(Model):
    """The builder gives the attempt up: it stops, or its host is at fault. Never charged."""

    attempt: int
    builder: str
    reason: str
    host_fault: bool = False


class LeaseExpired(Model):
    """No builder was heard of for too long."""

    attempt: int
    checker: str


class Evicted(Model):
    """A host's cache made room."""

    generation: int
    host: str


class Lost(Model):
    """A host needs them and has them not, nor can it fetch them."""

    generation: int
    host: str
    reason: str = ""


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
"""By CloudEvents type."""
