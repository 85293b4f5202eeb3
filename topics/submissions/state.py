"""States of submissions (`submissions.store`), and records for workers (`submissions.queue`)."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from pydantic_core import from_json

from topics.fold import QueuedWork
from topics.model import Model
from topics.request.errors import FieldError
from topics.request.limits import RunLimits
from topics.request.model import SubmissionRequest
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome, RunStage

FOLD_VERSION = 2
"""Version of the fold; it is raised if the same log would give another state. Stores are then rebuilt."""
ROW_VERSION = 2
"""Version of the fields and words of rows; it is raised with each new one, though the fold stays the same. An
earlier version leaves these out when it folds, so local tables with its rows are made anew."""

Status = Literal[
    "queued", "started", "dependencies_installed", "compiled", "finished", "cancelled", "rejected"
]
FINAL: frozenset[Status] = frozenset({"finished", "cancelled", "rejected"})


class EndedAttempt(Model):
    """An attempt that ended without an answer."""

    attempt: int
    """Number of the attempt, from 1."""
    reason: str
    """Reason of the end, for people."""
    charged: bool
    """Whether the attempt counts against `allowed_attempts`."""
    worker: str | None
    """Worker of the attempt; None if no worker started it."""


class Answer(Model):
    """A submission as clients see it."""

    id: str
    """Id of the submission."""
    status: Status
    """Progress: `queued`, `started` (a worker has it), `dependencies_installed`, `compiled` (its program
    runs), or an end that never changes: `finished`, `cancelled`, `rejected`."""
    attempt: int = 1
    """Number of the present or last attempt, from 1."""
    created_at: str
    """Append time of the request: RFC 3339, UTC, with milliseconds."""
    finished_at: str | None = None
    """Append time of the last event: RFC 3339, UTC, with milliseconds; None until the status is final."""
    outcome: Outcome | None = None
    """Outcome of a finished submission; None until then."""
    dependencies: DependenciesStage | None = None
    """Result of installing the dependencies; None until then."""
    compile: CompileStage | None = None
    """Result of the compile stage; None until then, or if the request has no `compile`."""
    run: tuple[RunStage, ...] = ()
    """Results of the test cases, in their order. None ran if it is empty."""
    score: Annotated[float | None, Field(exclude_if=lambda score: score is None)] = None
    """Sum of the scores of the test cases; None if the request gives none of them `points`."""
    error: str | None = None
    """Description of the failure if the outcome is `internal_error`."""
    errors: tuple[FieldError, ...] = ()
    """Errors of the request if the submission was rejected."""


_ANSWER = set(Answer.model_fields)
_OUTLINE = {"id", "status", "attempt", "created_at", "finished_at"}


class Submission(Answer):
    """State of a submission, as folded from its facts."""

    fold_version: int = FOLD_VERSION
    """Version of the fold that made this state."""
    worker: str | None = None
    """Worker of the present attempt, or the last worker of it."""
    ended_attempts: tuple[EndedAttempt, ...] = ()
    """Attempts that ended without an answer, in their order."""
    host_faults: int = 0
    """Number of attempts that ended by a host error."""
    allowed_attempts: int = 3
    """Attempts that may end by an expired lease before the submission is given up."""
    allowed_host_faults: int = 10
    """Attempts that may end by a host error before the submission is given up."""
    owner: str | None = None
    """Id of the API key that made the submission; None without one."""
    source: Literal["http", "kafka"] = "http"
    """Interface by which the request came in."""
    reply_topic: str | None = None
    """Topic that the answer is produced to when the status is final; None if the request names none."""
    content_hash: str = ""
    """SHA-256 of the request's canonical JSON without its id, in hexadecimal digits."""
    dependencies_id: str = ""
    """Id of the environment, shared by all submissions with the same dependencies."""
    package_set: str = ""
    """Pin of the package set that was in force."""
    request: SubmissionRequest | None = None
    """The request; None only if the submission was rejected."""
    owed: Annotated[Literal["direct", "turn"] | None, Field(exclude_if=lambda owed: owed is None)] = None
    """Dispatch of attempt 1 by its request, as long as no event shows that a worker has it; else None."""
    interactive: Annotated[bool, Field(exclude_if=lambda interactive: not interactive)] = False
    """Whether the client waits for the answer, so that it goes before others of its owner."""

    @property
    def final(self) -> bool:
        """Whether no fact can change the status any more, except a new request for a rejected id."""
        return self.status in FINAL

    @property
    def charged_attempts(self) -> int:
        """Number of attempts that count against `allowed_attempts`."""
        return sum(ended.charged for ended in self.ended_attempts)

    def answer(self) -> str:
        """Return the fields that clients see, in JSON."""
        return self.model_dump_json(include=_ANSWER)

    def outline(self) -> str:
        """Return an answer without content in JSON, for API keys that may cancel but not read submissions."""
        return self.model_dump_json(include=_OUTLINE)


def unfinished(stored: bytes) -> bool:
    """Return whether a row of `submissions.store` is of a submission whose status is not final.

    A row that cannot be parsed counts as final; a rebuild of the store replaces it.
    """
    try:
        return from_json(stored)["finished_at"] is None
    except (ValueError, KeyError, TypeError):
        return False


def unfinished_from(source: Literal["http", "kafka"]) -> Callable[[bytes], str | None]:
    """Return a function from a row of `submissions.store` to its owner, or "" if it has none.

    The function returns None if the submission is finished or has another source.
    """

    def owner(stored: bytes) -> str | None:
        row = from_json(stored)
        counts = row["finished_at"] is None and row["source"] == source
        return (row["owner"] or "") if counts else None

    return owner


class Work(QueuedWork):
    """A record of `submissions.queue`, with everything that a worker needs to start."""

    request: SubmissionRequest
    dependencies_id: str
    package_set: str
    owner: Annotated[str | None, Field(exclude_if=lambda owner: owner is None)] = None
    """Owner of the submission; compiled boxes are never shared between owners."""

    @property
    def memory_limits(self) -> dict[str, int]:
        """Memory limits of the stages, in bytes, by the name of the request's field."""
        limits, checker = self.request.limits, self.request.checker
        stages: dict[str, RunLimits] = {"limits.run": limits.run}
        if self.request.ordinary().compile:
            stages = {"limits.compile": limits.compile} | stages
        if checker and checker.compile:
            stages["comparison.compile_limits"] = checker.compile_limits
        if checker:
            stages["comparison.limits"] = checker.limits
        return {f"{name}.memory_bytes": stage.memory_bytes for name, stage in stages.items()}

    @property
    def memory_bytes(self) -> int:
        """Largest memory limit of a stage, in bytes."""
        return max(self.memory_limits.values())
