"""The body of a webhook, which is sent when a submission has ended, and the record that holds it."""

from typing import Annotated

from pydantic import Field

from topics.model import Model
from topics.request.limits import KiB, MiB
from topics.request.model import Tag
from topics.submissions.redaction import redacted
from topics.submissions.shortening import shortened, without_contents
from topics.submissions.stage import Outcome
from topics.submissions.state import Answer, Status, Submission

ENDED = "envicutor.submission.ended.v1"
"""Type of the body: a CloudEvents type like those of the log."""
WEBHOOK = "envicutor.submission.webhook.v1"
"""CloudEvents type of the records of webhooks."""


class EndedData(Model):
    """Summary of an ended submission, by which a receiver can decide whether to fetch the rest at `path`."""

    id: str
    """Id of the submission."""
    status: Status
    """Final status: `finished`, `cancelled` or `rejected`."""
    outcome: Outcome | None
    """Outcome of a finished submission; None if it was cancelled or rejected."""
    attempt: int
    """Number of the last attempt, from 1."""
    created_at: str
    """Append time of the request: RFC 3339, UTC."""
    finished_at: str
    """Append time of the last event: RFC 3339, UTC."""
    tags: tuple[Tag, ...]
    """Tags of the request."""
    path: str
    """Path of the submission's URL, on every ingest node."""
    answer: Annotated[Answer | None, Field(exclude_if=lambda answer: answer is None)] = None
    """The answer, if the request has `callback_answer`: without contents of output files, and without what
    hidden test cases printed. Streams are cut, and names of output files left out, as far as the body needs
    it; `truncated` is then true."""


class Ended(Model):
    """The body of a webhook: at most 2 KiB, or 1 MiB with an answer, with the same bytes in every try."""

    type: str = ENDED
    """Type of the event, in the form of a CloudEvents type."""
    timestamp: str
    """Time at which the submission ended: RFC 3339, UTC."""
    data: EndedData
    """Summary of the submission."""


class Webhook(Model):
    """A record of `webhooks.pending` and `webhooks.retries`: a POST to be sent."""

    url: str
    body: Ended
    tries: int = 0
    """Number of failed tries."""
    not_before_ms: int = 0
    """Earliest time of the next try: Unix time in milliseconds."""

    @property
    def id(self) -> str:
        """Id of the message, equal in every try: receivers can drop duplicates. A submission ends once."""
        return f"ended_{self.body.data.id}"


BODY_BYTES = MiB
"""Largest body of a webhook."""
_SUMMARY_BYTES = 4 * KiB
"""Bytes of a body besides the answer, at most."""


def _answer(submission: Submission) -> Answer:
    """Return the answer for a receiver, which has no API key: whatever is hidden is left out."""
    shown = without_contents(redacted(submission))
    answer = Answer(**{name: getattr(shown, name) for name in Answer.model_fields})
    return shortened(answer, BODY_BYTES - _SUMMARY_BYTES)


def make_webhook(submission: Submission) -> Webhook | None:
    """Return the webhook of a final submission, or None if its request has no `callback_url`."""
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
        answer=_answer(submission) if request.callback_answer else None,
    )
    return Webhook(url=request.callback_url, body=Ended(timestamp=finished_at, data=data))
