"""What HTTP answers, besides what stands on the log; servers write it, clients read it."""

from typing import Any

from pydantic import BaseModel

from topics.request.model import FieldError
from topics.submissions.stage import Outcome
from topics.submissions.state import Answer, Status


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    """What kind of error it is; stable."""
    title: str
    status: int
    detail: str
    """What is wrong, and what to do."""
    errors: list[FieldError] = []
    """Which fields, where some are."""


class Listed(BaseModel):
    """A submission in a list."""

    id: str
    status: Status
    attempt: int
    created_at: str
    finished_at: str | None
    outcome: Outcome | None
    tags: tuple[str, ...] = ()
    owner: str | None = None
    """Id of the API key that it was submitted with; None without one."""


class Page(BaseModel):
    """A part of a list."""

    submissions: list[Listed]
    next: str | None
    """The `cursor` of the page after this one; None on the last."""


class BatchItem(BaseModel):
    """What became of one request: `submission` where it was accepted, else `problem`."""

    status: int
    """As if it had been sent alone."""
    submission: Answer | None = None
    problem: Problem | None = None


class Batch(BaseModel):
    """In the order of the requests."""

    results: list[BatchItem]


class Happened(BaseModel):
    """The data of an event that is a fact."""

    time: str
    """When it happened, by the log's clock."""
    status: Status | None
    """Of the submission, after it."""
    refused: str | None
    """Why it changed nothing, such as being of an earlier attempt; None where it was accepted."""
    fact: dict[str, Any]
    """What was said, without what is large."""


class Percentiles(BaseModel):
    """Of times in seconds."""

    p50: float
    p99: float


class Builds(BaseModel):
    """Sets of dependencies that are asked for and not there."""

    waiting: int
    running: int


class LastMinute(BaseModel):
    """What this node has heard of within it."""

    finished: int
    """Submissions that came to an end, whichever."""
    finished_per_s: float
    """Their mean rate."""
    outcomes: dict[str, int]
    """How many ended how: by outcome, else by status (`cancelled`, `rejected`)."""
    queue_wait_s: Percentiles | None
    """From request to the first start by a worker, of those that were started; None where none was."""
    answer_s: Percentiles | None
    """From request to the end, of those that ended; None where none did."""


class System(BaseModel):
    """The system as one node sees it now."""

    time: str
    unfinished: dict[Status, int]
    """How many submissions there are of each status that is not an end."""
    waiting: int
    """Submissions that no worker has started."""
    running: int
    """Submissions that a worker has."""
    running_by_worker: dict[str, int]
    """Those, by who has them; workers that have none are not named."""
    workers: int
    """Those who may take more; 0 where the broker does not say."""
    leases: int
    """Attempts and builds that somebody is at, and that go to another should he fall silent."""
    builds: Builds
    last_minute: LastMinute
