"""Events of one submission from the journal, as clients receive them."""

from ingest.models import EventPayload
from topics.fold import Recorded
from topics.kafka.codec import DecodeError, decode
from topics.request.model import SubmissionRequest
from topics.submissions.facts import FACTS, Rejected, Requested, SubmissionFact
from topics.submissions.fold import apply
from topics.submissions.state import Submission
from topics.times import rfc3339
from topics.views.journal import JournalEntry

_BIG = {"request", "compile", "run"}
"""Large fields that are left out of facts: clients find them in the request and in the answer."""
_UNTOLD = SubmissionRequest(run="true")
"""Placeholder for the request in states that only the fold needs."""


class Story:
    """Facts of one submission, which are folded in the order of the log."""

    def __init__(self, id: str, owner: str | None = None) -> None:
        """Leave out the details of requests with this id that are not of `owner`."""
        self.read_to = 0
        """Offset after the last fact."""
        self.state: Submission | None = None
        self._id, self._owner = id, owner
        self._told_ms = 0

    def take(self, entry: JournalEntry) -> tuple[str, EventPayload]:
        """Fold the next fact; return its name, such as `started`, and the data that clients receive."""
        self.read_to = entry.offset + 1
        fact: SubmissionFact | None = None
        happened_ms = entry.time_ms
        try:
            fact = decode(FACTS[entry.type], entry.value)
        except (KeyError, DecodeError):
            refused: str | None = "unreadable"
        else:
            recorded = Recorded(self._id, fact, entry.time_ms)
            folded, happened_ms = apply(self.state, recorded), recorded.happened_ms
            refused = folded.refused
            self.state = folded.state if refused is None else self.state
        self._told_ms = max(
            self._told_ms, happened_ms
        )  # it may have been cancelled before the start was published
        return entry.type.split(".")[2] if fact else "unreadable", EventPayload(
            time=rfc3339(self._told_ms),
            status=self.state.status if self.state else None,
            refused=refused,
            fact=fact.model_dump(mode="json", exclude=_BIG, exclude_none=True)
            if fact and not self._is_of_another(fact)
            else {},
        )

    def _is_of_another(self, fact: SubmissionFact) -> bool:
        match fact:
            case Requested():
                return fact.owner != self._owner
            case Rejected():
                return self._owner is not None
        return False

    @property
    def final(self) -> bool:
        """Whether the submission has ended."""
        return self.state is not None and self.state.final

    def forget_content(self) -> None:
        """Reduce the state to what the fold needs, since many streams may hold large ones."""
        if self.state is not None:
            self.state = self.state.replace(request=_UNTOLD, dependencies=None, compile=None, run=())
