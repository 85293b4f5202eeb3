"""Models of HTTP responses that are not on the log; the server writes them and the client reads them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from topics.dependencies.state import EnvironmentState
from topics.dependencies.steps import BuildStep
from topics.request.errors import FieldError
from topics.submissions.stage import Outcome
from topics.submissions.state import Answer, Status

END = "end"
"""Name and id of the last event of a stream, whose data is the answer."""


class Body(BaseModel):
    """Base of the models; their attributes' docstrings are the descriptions in the OpenAPI document."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Problem(Body):
    """Error response in the format of RFC 9457."""

    type: str
    """URI that identifies the kind of error; its last part is stable, such as `unknown-submission`."""
    title: str
    """Reason phrase of the HTTP status."""
    status: int
    """HTTP status of the response."""
    detail: str
    """Explanation of this error, and what to do about it."""
    errors: list[FieldError] = []
    """Invalid fields of the request or its parameters, if the error concerns any."""


class Listed(Body):
    """Summary of a submission, as lists show it."""

    id: str
    """Id of the submission."""
    status: Status
    """Progress, as in the submission itself."""
    attempt: int
    """Number of the current attempt, from 1."""
    created_at: str
    """Time of the request, RFC 3339."""
    finished_at: str | None
    """Time of the end, RFC 3339; null until the submission has ended."""
    outcome: Outcome | None
    """Outcome of a finished submission; null for all others."""
    tags: tuple[str, ...] = ()
    """Tags of the request, by which lists can be filtered."""
    owner: str | None = None
    """Id of the API key that made the submission; null if it was made without a key."""


class SubmissionPage(Body):
    """Page of a list of submissions, newest first."""

    submissions: list[Listed]
    """Summaries of the submissions on this page."""
    next: str | None
    """Parameter `cursor` of the next page; null on the last page."""


class SubmissionWait(Body):
    """The reason why the program of a submission does not run yet."""

    reason: Literal["worker", "environment"]
    """`worker`: no worker has started it. `environment`: a worker has, and its environment is being built."""
    before: int | None = None
    """Number of submissions that go before it, as far as this node knows; null while it waits for its
    environment."""
    estimate_s: float | None = None
    """Estimated time until a worker starts it, in seconds, from the starts of the last minute; null if there
    were none, if the oldest submission began to wait less than 0.5 s ago, and while it waits for its
    environment."""
    step: Annotated[BuildStep | None, Field(exclude_if=lambda step: step is None)] = None
    """Step that the build of its environment has reached; left out while none is known, and while the
    submission waits for a worker."""


class SubmissionShown(Answer):
    """A submission, and what it waits for."""

    waiting: Annotated[SubmissionWait | None, Field(exclude_if=lambda waiting: waiting is None)] = None
    """Reason why its program does not run yet; left out if it runs or the submission has ended."""


class EnvironmentShown(EnvironmentState):
    """The state of an environment, and the step of its build."""

    step: Annotated[BuildStep | None, Field(exclude_if=lambda step: step is None)] = None
    """Step that the build has reached; left out if it is not being built, or no step is known."""


class SubmissionsById(Body):
    """Submissions that were asked for by their ids."""

    submissions: list[SubmissionShown | None]
    """Submissions in the order of the ids, with the fields that were asked for; null for an id of which there
    is none that the caller may read."""
    next: None
    """Nothing: there is no further page."""


class BatchItem(Body):
    """Result of one request of a batch: a `submission` if it was accepted, otherwise a `problem`."""

    status: int
    """HTTP status that the request would have received alone."""
    submission: Answer | None = None
    """The submission, if the request was accepted."""
    problem: Problem | None = None
    """The error, if the request was refused."""


class BatchResults(Body):
    """Results of a batch, in the order of its requests."""

    results: list[BatchItem]
    """One result for each request, in their order."""


class EventPayload(Body):
    """Data of a server-sent event: a fact of the log, or what the submission waits for (`waiting`)."""

    time: str
    """Time of the fact by the clock of the log, of `waiting` by the clock of this node; RFC 3339."""
    status: Status | None
    """Status of the submission after this fact; null if there is no submission yet."""
    refused: str | None
    """Reason why the fact changed nothing, such as an earlier attempt; null if it was accepted."""
    fact: dict[str, Any]
    """Fields of the fact, without the request and the results of its stages. The event `waiting` is no fact;
    these are then the fields of `SubmissionWait`."""


class Percentiles(Body):
    """Percentiles of durations in seconds."""

    p50: float
    """Duration that half of the values do not exceed."""
    p99: float
    """Duration that 99 % of the values do not exceed."""


class Builds(Body):
    """Environments that submissions need and that are not built yet."""

    waiting: int
    """Builds that no cache builder has started."""
    running: int
    """Builds that a cache builder has started."""


class LastMinute(Body):
    """Statistics of the last minute, from the events that this node has consumed."""

    finished: int
    """Submissions that ended, with any status."""
    finished_per_s: float
    """Mean rate at which submissions ended."""
    outcomes: dict[str, int]
    """Number of ended submissions by outcome, or by status if they have none (`cancelled`, `rejected`)."""
    queue_wait_s: Percentiles | None
    """Time from a request to its first start by a worker; null if none was started."""
    answer_s: Percentiles | None
    """Time from a request to its end; null if none ended."""


class System(Body):
    """State of the system, as one ingest node knows it."""

    time: str
    """Time of the overview, RFC 3339."""
    unfinished: dict[Status, int]
    """Number of submissions by status, for every status that is not final."""
    waiting: int
    """Queued submissions, which no worker has started."""
    running: int
    """Submissions that a worker has started, without those that have ended or wait for their environment."""
    waiting_for_environment: int = 0
    """Submissions that a worker has started and whose environment is being built."""
    oldest_waiting_s: float = 0.0
    """Longest time for which a submission that waits now has waited for a worker, in seconds; 0 if none
    waits."""
    running_by_worker: dict[str, int]
    """Running submissions by worker, without workers that run none."""
    workers: int
    """Workers that consume the queue; 0 if the broker does not answer."""
    leases: int
    """Running attempts and builds; each is retried by another process if its lease expires."""
    builds: Builds
    """Builds of environments that are queued or running."""
    last_minute: LastMinute
    """Statistics of the last minute."""
