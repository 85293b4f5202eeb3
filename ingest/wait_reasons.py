"""Reasons why submissions wait, as clients see them."""

import asyncio
from contextlib import AbstractContextManager

from ingest.build_steps import BuildSteps
from ingest.models import SubmissionShown, SubmissionWait
from ingest.waiting import WaitingSubmissions
from topics.submissions.state import Answer, Submission
from topics.times import now_ms
from topics.views.view import View


class WaitReasons:
    """Reasons why submissions wait: turns before them, or builds of their environments."""

    def __init__(self, submissions: WaitingSubmissions, environments: View, steps: BuildSteps) -> None:
        """Read `environments`, a view of `dependencies.store` that has a status for unfinished rows only."""
        self._submissions, self._environments, self._steps = submissions, environments, steps

    def of(self, submission: Submission | None) -> SubmissionWait | None:
        """Return what a submission waits for, or None if it runs, has ended or does not exist."""
        if submission is not None and submission.status == "queued":
            return self._submissions.wait_of(submission.id, now_ms())
        return self.of_environment(submission)

    def of_environment(self, submission: Submission | None) -> SubmissionWait | None:
        """Return the wait for an environment, with the step of its build; None if there is no such wait."""
        if submission is None or submission.status != "started":
            return None
        id = submission.dependencies_id
        if not self._environments.status(id):
            return None
        return SubmissionWait(reason="environment", step=self._steps.of(id, self._environments.get(id)))

    def subscribe(self, submission: Submission, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set `event` at each step of the build that a submission may wait for."""
        return self._steps.subscribe(submission.dependencies_id, event)

    def oldest_s(self) -> float:
        """Return the longest time for which a waiting submission has waited, in seconds; 0 if none waits."""
        return self._submissions.oldest_s(now_ms())

    def shown(self, submission: Submission) -> SubmissionShown:
        """Return a submission as clients see it."""
        fields = {name: getattr(submission, name) for name in Answer.model_fields}
        return SubmissionShown.model_construct(**fields, waiting=self.of(submission))
