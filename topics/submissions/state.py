"""A submission as it is now (`submissions.store`), and as a worker gets it (`submissions.queue`)."""

from typing import Any, Literal

from topics.model import Model
from topics.request import FieldError, SubmissionRequest
from topics.stage import DependenciesStage, Outcome, RunStage, Stage

FOLD_VERSION = 1
"""Raised whenever the fold would make another state of the same log: stores are then rebuilt."""

Status = Literal[
    "queued", "started", "dependencies_installed", "compiled", "finished", "cancelled", "rejected"
]
FINAL: frozenset[Status] = frozenset({"finished", "cancelled", "rejected"})

ANSWER_FIELDS = {
    "id",
    "status",
    "attempt",
    "created_at",
    "finished_at",
    "outcome",
    "dependencies",
    "compile",
    "run",
    "error",
    "errors",
}


class EndedAttempt(Model):
    """An attempt that brought no answer."""

    attempt: int
    reason: str
    charged: bool
    worker: str | None


class Submission(Model):
    """The whole object."""

    id: str
    fold_version: int = FOLD_VERSION
    status: Status
    attempt: int = 1
    created_at: str
    finished_at: str | None = None
    outcome: Outcome | None = None
    dependencies: DependenciesStage | None = None
    compile: Stage | None = None
    run: tuple[RunStage, ...] = ()
    error: str | None = None
    """What went wrong, for an internal_error."""
    errors: tuple[FieldError, ...] = ()
    """Why it was rejected."""
    worker: str | None = None
    """Who works, or worked last, on the present attempt."""
    ended_attempts: tuple[EndedAttempt, ...] = ()
    host_faults: int = 0
    allowed_attempts: int = 3
    allowed_host_faults: int = 10
    owner: str | None = None
    content_hash: str = ""
    dependencies_id: str = ""
    package_set: str = ""
    request: SubmissionRequest | None = None
    """None only where it was rejected."""

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    @property
    def charged_attempts(self) -> int:
        """How many attempts ended by an expired lease."""
        return sum(ended.charged for ended in self.ended_attempts)

    def answer(self) -> dict[str, Any]:
        """What clients see."""
        return self.model_dump(mode="json", include=ANSWER_FIELDS)


class Work(Model):
    """A record of `submissions.queue`: all that a worker needs."""

    id: str
    attempt: int
    request: SubmissionRequest
    dependencies_id: str
    package_set: str
    alone: bool = False
    """The last charged attempt: run it with nothing beside it, so that only the culprit is blamed."""
