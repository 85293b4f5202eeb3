"""Events of one submission, as clients receive them."""

from typing import Any

from ingest.models import EventPayload
from ingest.submission_table import recorded_of
from topics.kafka.codec import DecodeError
from topics.request.model import SubmissionRequest
from topics.submissions.facts import Rejected, Requested, SubmissionFact
from topics.submissions.fold import apply
from topics.submissions.redaction import HIDDEN_ERROR
from topics.submissions.state import Submission
from topics.times import rfc3339
from topics.views.journal import JournalEntry

_NOT_SHOWN = {"request", "compile", "run", "content_hash"}
"""Fields of facts that are left out. Clients find the large ones in the request and in the answer. With the
hash of the request a reader could try out what its hidden test cases contain."""
_NO_REQUEST = SubmissionRequest(run="true")
"""Placeholder for the request in states that only the fold needs."""


class Timeline:
    """Facts of one submission in the order of the log, each with the status after it."""

    def __init__(self, id: str, owner: str | None = None, *, hides_errors: bool = False) -> None:
        """Leave out the details of requests with this id that are not of `owner`.

        With `hides_errors` descriptions of failures are left out, too.
        """
        self._hides_errors = hides_errors
        self.read_to = 0
        """Offset after the last fact."""
        self._id, self._owner = id, owner
        self.state: Submission | None = None
        """State after the facts so far, without its request and the results of its stages."""
        self._shown_ms = 0

    def take(self, entry: JournalEntry) -> tuple[str, EventPayload]:
        """Fold the next fact; return its name, such as `started`, and the data that clients receive."""
        self.read_to = entry.offset + 1
        fact: SubmissionFact | None = None
        happened_ms = entry.time_ms
        try:
            recorded = recorded_of(self._id, entry)
        except DecodeError:
            refused: str | None = "unreadable"
        else:
            fact, happened_ms = recorded.fact, recorded.happened_ms
            folded = apply(self.state, recorded)
            refused = folded.refused
            if folded.state is not None:  # many streams may hold large states: keep what the fold needs
                self.state = folded.state.replace(
                    request=_NO_REQUEST, dependencies=None, compile=None, run=()
                )
        # A submission may have been cancelled before its start was published.
        self._shown_ms = max(self._shown_ms, happened_ms)
        return entry.type.split(".")[2] if fact else "unreadable", EventPayload(
            time=rfc3339(self._shown_ms),
            status=self.state.status if self.state else None,
            refused=refused,
            fact=self._shown(fact) if fact and not self._is_of_another(fact) else {},
        )

    @property
    def final(self) -> bool:
        """Whether the facts so far have ended the submission."""
        return self.state is not None and self.state.final

    @property
    def may_wait(self) -> bool:
        """Whether the submission may wait for a worker or for its environment."""
        return self.state is not None and self.state.status in {"queued", "started"}

    def _shown(self, fact: SubmissionFact) -> dict[str, Any]:
        fields = fact.model_dump(mode="json", exclude=_NOT_SHOWN, exclude_none=True)
        return fields | {"error": HIDDEN_ERROR} if self._hides_errors and "error" in fields else fields

    def _is_of_another(self, fact: SubmissionFact) -> bool:
        match fact:
            case Requested():
                return fact.owner != self._owner
            case Rejected():
                return self._owner is not None
        return False
