"""Reasons why submissions wait, as clients see them."""

from ingest.models import SubmissionShown, SubmissionWait
from ingest.waiting import WaitingSubmissions
from topics.submissions.state import Answer, Submission
from topics.times import now_ms
from topics.views.view import View


class WaitReasons:
    """Reasons why submissions wait: turns before them, or builds of their environments."""

    def __init__(self, submissions: WaitingSubmissions, environments: View) -> None:
        """Read `environments`, a view of `dependencies.store` that has a status for unfinished rows only."""
        self._submissions, self._environments = submissions, environments

    def of(self, submission: Submission | None) -> SubmissionWait | None:
        """Return what a submission waits for, or None if it runs, has ended or does not exist."""
        match submission:
            case Submission(status="queued"):
                return self._submissions.wait_of(submission.id, now_ms())
            case Submission(status="started") if self._environments.status(submission.dependencies_id):
                return SubmissionWait(reason="environment")
        return None

    def oldest_s(self) -> float:
        """Return the longest time for which a waiting submission has waited, in seconds; 0 if none waits."""
        return self._submissions.oldest_s(now_ms())

    def shown(self, submission: Submission) -> SubmissionShown:
        """Return a submission as clients see it."""
        fields = {name: getattr(submission, name) for name in Answer.model_fields}
        return SubmissionShown.model_construct(**fields, waiting=self.of(submission))
