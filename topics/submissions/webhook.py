"""What is told over HTTP when a submission has ended, and the record that it waits in until then."""

from topics.model import Model
from topics.request.model import Tag
from topics.submissions.stage import Outcome
from topics.submissions.state import Status, Submission

ENDED = "envicutor.submission.ended.v1"
"""What the body calls itself; a CloudEvents type like those of the log."""
WEBHOOK = "envicutor.submission.webhook.v1"
"""CloudEvents type of the record."""


class EndedData(Model):
    """Enough to decide whether to look: everything else is at `path`."""

    id: str
    status: Status
    outcome: Outcome | None
    """None where it did not finish."""
    attempt: int
    created_at: str
    finished_at: str
    tags: tuple[Tag, ...]
    path: str
    """Of the submission, on whichever node."""


class Ended(Model):
    """The body of a webhook: 2 KiB at most. The same bytes each time that it is tried."""

    type: str = ENDED
    timestamp: str
    """When it ended; RFC 3339."""
    data: EndedData


class Webhook(Model):
    """A record of `webhooks.pending` and `webhooks.retries`."""

    url: str
    body: Ended
    tries: int = 0
    """How often it was tried in vain."""
    not_before_ms: int = 0
    """When to try again; Unix time."""

    @property
    def id(self) -> str:
        """The same each time that it is tried, so that a receiver knows it again; a submission ends once."""
        return f"ended_{self.body.data.id}"


def webhook(submission: Submission) -> Webhook | None:
    """Of a final submission; None where nobody asked for it."""
    request, finished_at = submission.request, submission.finished_at
    if request is None or request.callback_url is None or finished_at is None:
        return None
    data = EndedData(
        id=submission.id,
        status=submission.status,
        outcome=submission.outcome,
        attempt=submission.attempt,
        created_at=submission.created_at,
        finished_at=finished_at,
        tags=request.tags,
        path=f"/submissions/{submission.id}",
    )
    return Webhook(url=request.callback_url, body=Ended(timestamp=finished_at, data=data))
