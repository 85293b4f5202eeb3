"""What can happen to a submission; each fact is a record on `submissions.events`, keyed by its id."""

from typing import Literal

from topics.fold import ProgressFact
from topics.model import Model
from topics.request.model import FieldError, SubmissionRequest
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome, RunStage


class Requested(Model):
    """A client asked for it. What will decide later is written down here, so that settings may change."""

    request: SubmissionRequest
    content_hash: str
    dependencies_id: str
    package_set: str
    """Pin of the package set that was in force."""
    allowed_attempts: int = 3
    """How many attempts may end by an expired lease."""
    allowed_host_faults: int = 10
    """How many attempts may end by a fault of the host."""
    owner: str | None = None
    source: Literal["http", "kafka"] = "http"
    reply_topic: str | None = None
    """Where the answer is produced to, besides the store."""


class Started(ProgressFact):
    """A worker took the attempt."""

    attempt: int
    worker: str


class DependenciesInstalled(ProgressFact):
    """The dependencies are there."""

    attempt: int
    worker: str
    dependencies: DependenciesStage


class Compiled(ProgressFact):
    """The compile stage ended well."""

    attempt: int
    worker: str
    compile: CompileStage


class Finished(Model):
    """The attempt ended with an answer."""

    attempt: int
    worker: str
    outcome: Outcome
    dependencies: DependenciesStage | None
    compile: CompileStage | None
    run: tuple[RunStage, ...]
    error: str | None = None
    """What went wrong, for an internal_error."""


class HandedBack(Model):
    """The worker gives the attempt up: it stops, or its host is at fault. Never charged."""

    attempt: int
    worker: str
    reason: str
    host_fault: bool = False


class LeaseExpired(Model):
    """No worker was heard of for too long."""

    attempt: int
    checker: str


class Cancelled(Model):
    """The client no longer wants an answer."""

    reason: str = "cancelled by the client"


class Rejected(Model):
    """A request from Kafka that cannot be accepted, but whose id can be read."""

    errors: tuple[FieldError, ...]
    reply_topic: str | None = None
    """Where this is told, besides the store."""


SubmissionFact = (
    Requested
    | Started
    | DependenciesInstalled
    | Compiled
    | Finished
    | HandedBack
    | LeaseExpired
    | Cancelled
    | Rejected
)

CANCEL = "envicutor.submission.cancel.v1"
"""CloudEvents type of a cancellation on `submissions.requests`; its value does not matter."""

FACTS: dict[str, type[SubmissionFact]] = {
    "envicutor.submission.requested.v1": Requested,
    "envicutor.submission.started.v1": Started,
    "envicutor.submission.dependencies_installed.v1": DependenciesInstalled,
    "envicutor.submission.compiled.v1": Compiled,
    "envicutor.submission.finished.v1": Finished,
    "envicutor.submission.handed_back.v1": HandedBack,
    "envicutor.submission.lease_expired.v1": LeaseExpired,
    "envicutor.submission.cancelled.v1": Cancelled,
    "envicutor.submission.rejected.v1": Rejected,
}
"""By CloudEvents type."""
