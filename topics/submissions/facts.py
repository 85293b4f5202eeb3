"""Facts about submissions; each is a record on `submissions.events` whose key is the submission's id."""

from typing import Annotated, Literal

from pydantic import Field

from topics.fold import ProgressFact
from topics.model import Model
from topics.request.errors import FieldError
from topics.request.model import SubmissionRequest
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome, RunStage


class Requested(Model):
    """A client made a submission. Values that decide later are written here, so that settings may change."""

    request: SubmissionRequest
    """The request as it was sent, with its resolved limits, language and files."""
    content_hash: str
    """SHA-256 of the request's canonical JSON without its id, in hexadecimal digits."""
    dependencies_id: str
    """Id of the environment, shared by all submissions with the same dependencies."""
    package_set: str
    """Pin of the package set that was in force."""
    allowed_attempts: int = 3
    """Attempts that may end by an expired lease before the submission is given up."""
    allowed_host_faults: int = 10
    """Attempts that may end by a host error before the submission is given up."""
    owner: str | None = None
    """Id of the API key that made the submission; None without one."""
    source: Literal["http", "kafka"] = "http"
    """Interface by which the request came in."""
    reply_topic: str | None = None
    """Topic that the answer is produced to, besides the store; None if the request names none."""
    dispatch: Annotated[
        Literal["direct", "turn"] | None, Field(exclude_if=lambda dispatch: dispatch is None)
    ] = None
    """`direct` if the request handler enqueues attempt 1 itself once this fact is acknowledged, or folded if
    the client made the id; `turn` if the store processor does when its turn comes; None if the store
    processor does at once."""
    interactive: Annotated[bool, Field(exclude_if=lambda interactive: not interactive)] = False
    """Whether the client waits for the answer, so that it goes before others of its owner."""


class Started(ProgressFact):
    """A worker started the attempt."""

    attempt: int
    """Number of the attempt, from 1."""
    worker: str
    """Name of the worker process that has the attempt."""


class DependenciesInstalled(ProgressFact):
    """The environment of the submission is installed on the worker's host."""

    attempt: int
    """Number of the attempt, from 1."""
    worker: str
    """Name of the worker process that has the attempt."""
    dependencies: DependenciesStage
    """Result of installing the dependencies."""


class Compiled(ProgressFact):
    """The compile stage ended with exit code 0."""

    attempt: int
    """Number of the attempt, from 1."""
    worker: str
    """Name of the worker process that has the attempt."""
    compile: CompileStage
    """Result of the compile stage, which exited with 0."""


class Finished(Model):
    """The attempt ended with an answer, which holds if it is the first one of the current attempt."""

    attempt: int
    """Number of the attempt, from 1."""
    worker: str
    """Name of the worker process that has the attempt."""
    outcome: Outcome
    """Result as one word."""
    dependencies: DependenciesStage | None
    """Result of installing the dependencies; None if the attempt ended before."""
    compile: CompileStage | None
    """Result of the compile stage; None if there is none, or it did not run."""
    run: tuple[RunStage, ...]
    """Results of the test cases, in their order."""
    error: str | None = None
    """Description of the failure if the outcome is `internal_error`."""


class HandedBack(Model):
    """The worker gave the attempt up, as it stops or its host has an error. The attempt is never charged."""

    attempt: int
    """Number of the attempt, from 1."""
    worker: str
    """Name of the worker process that has the attempt."""
    reason: str
    """Reason for which the worker gave up, for people."""
    host_fault: bool = False
    """Whether an error of the host was the reason."""


class LeaseExpired(Model):
    """The lease of the attempt was not renewed in time."""

    attempt: int
    """Number of the attempt, from 1."""
    checker: str
    """Name of the health checker that found the lease expired."""


class Cancelled(Model):
    """The client no longer wants an answer."""

    reason: str = "cancelled by the client"
    """Reason of the cancellation, for people."""


class Rejected(Model):
    """A request from Kafka was refused, whose id could be read."""

    errors: tuple[FieldError, ...]
    """Errors of the request, by field."""
    reply_topic: str | None = None
    """Topic that the rejection is produced to, besides the store; None if the request names none."""


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
"""Models of the facts, by CloudEvents type."""
