"""A submission as it is now (`submissions.store`), and as a worker gets it (`submissions.queue`)."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from pydantic_core import from_json

from topics.fold import QueuedWork
from topics.model import Model
from topics.request.model import FieldError, SubmissionRequest
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome, RunStage

FOLD_VERSION = 2
"""Raised whenever the fold would make another state of the same log: stores are then rebuilt."""

Status = Literal[
    "queued", "started", "dependencies_installed", "compiled", "finished", "cancelled", "rejected"
]
FINAL: frozenset[Status] = frozenset({"finished", "cancelled", "rejected"})


class EndedAttempt(Model):
    """An attempt that brought no answer."""

    attempt: int
    reason: str
    charged: bool
    worker: str | None


class Answer(Model):
    """What clients see of a submission."""

    id: str
    status: Status
    attempt: int = 1
    created_at: str
    """RFC 3339, UTC, with milliseconds; like all times here the broker's append time."""
    finished_at: str | None = None
    outcome: Outcome | None = None
    """None until it is finished."""
    dependencies: DependenciesStage | None = None
    compile: CompileStage | None = None
    run: tuple[RunStage, ...] = ()
    """One entry per test case, in order."""
    error: str | None = None
    """What went wrong, for an internal_error."""
    errors: tuple[FieldError, ...] = ()
    """Why it was rejected."""


_ANSWER = set(Answer.model_fields)
_OUTLINE = {"id", "status", "attempt", "created_at", "finished_at"}


class Submission(Answer):
    """The whole object."""

    fold_version: int = FOLD_VERSION
    worker: str | None = None
    """Who works, or worked last, on the present attempt."""
    ended_attempts: tuple[EndedAttempt, ...] = ()
    host_faults: int = 0
    allowed_attempts: int = 3
    allowed_host_faults: int = 10
    owner: str | None = None
    source: Literal["http", "kafka"] = "http"
    """How it came in."""
    reply_topic: str | None = None
    """Where its answer is produced to when it is final."""
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

    def answer(self) -> str:
        """What clients see, as JSON."""
        return self.model_dump_json(include=_ANSWER)

    def outline(self) -> str:
        """An answer without content, for whoever may stop it and not read it; as JSON."""
        return self.model_dump_json(include=_OUTLINE)


def unfinished(stored: bytes) -> bool:
    """Whether a row of `submissions.store` is of a submission that is still to be finished.

    A row that somebody wrote by hand, and nobody can read, is of none: a rebuild mends it.
    """
    try:
        return from_json(stored)["finished_at"] is None
    except (ValueError, KeyError, TypeError):
        return False


def unfinished_from(source: Literal["http", "kafka"]) -> Callable[[bytes], str | None]:
    """The owner (or nothing) of what is `unfinished` and came in this way; None of all else."""

    def owner(stored: bytes) -> str | None:
        row = from_json(stored)
        counts = row["finished_at"] is None and row["source"] == source
        return (row["owner"] or "") if counts else None

    return owner


class Work(QueuedWork):
    """A record of `submissions.queue`: all that a worker needs."""

    request: SubmissionRequest
    dependencies_id: str
    package_set: str
    owner: Annotated[str | None, Field(exclude_if=lambda owner: owner is None)] = None
    """Whose it is; what one owner compiled is never given to another."""

    @property
    def memory_limits(self) -> dict[str, int]:
        """Memory limits of the stages, in bytes, by the name of the request's field."""
        limits = self.request.limits
        of_compile = {"limits.compile.memory_bytes": limits.compile.memory_bytes}
        return (of_compile if self.request.ordinary().compile else {}) | {
            "limits.run.memory_bytes": limits.run.memory_bytes
        }

    @property
    def memory_bytes(self) -> int:
        """The largest of the memory limits."""
        return max(self.memory_limits.values())
