"""Reasons why submissions wait, as clients see them."""

from ingest.models import SubmissionShown, SubmissionWait
from ingest.waiting import WaitingSubmissions
from topics.dependencies.state import unfinished
from topics.submissions.state import Answer, Submission
from topics.times import now_ms
from topics.views.view import View


class Waits:
    """The places of submissions in front of workers, and builds of their environments."""

    def __init__(self, submissions: WaitingSubmissions, environments: View) -> None:
        """Read `environments`, a view of `dependencies.store`."""
        self._submissions, self._environments = submissions, environments

    def of(self, submission: Submission | None) -> SubmissionWait | None:
        """Return what a submission waits for, or None if it runs, has ended or does not exist."""
        if submission is None or submission.final:
            return None
        if submission.status == "started":
            return (
                SubmissionWait(reason="environment") if self.is_building(submission.dependencies_id) else None
            )
        return self._submissions.place(submission.id, now_ms())

    def is_building(self, dependencies_id: str) -> bool:
        """Return whether the build of an environment is queued or running."""
        row = self._environments.get(dependencies_id)
        return row is not None and unfinished(row) is not None

    def oldest_s(self) -> float:
        """Return how long the submission has waited for a worker that waits longest, in seconds."""
        return self._submissions.oldest_s(now_ms())

    def shown(self, submission: Submission) -> SubmissionShown:
        """Return a submission as clients see it."""
        fields = {name: getattr(submission, name) for name in Answer.model_fields}
        return SubmissionShown.model_construct(**fields, waiting=self.of(submission))
