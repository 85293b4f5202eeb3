"""Requests of a client that waits for the end of a submission."""

import time
from collections.abc import Callable

from envicutor_client.calls import LONGEST_WAIT_S
from envicutor_client.models import SubmissionShown, SubmissionWait

WAITING_POLL_S = 2.0
"""Longest time of one request of `wait`, if its caller follows what the submission waits for."""
_EARLY_PAUSE_S = 0.5
"""Time after which `wait` asks again if the server responded before its end: one that shuts down, or an
earlier version."""
_LEAST_WAIT_S = 0.001
"""Shortest wait that a request asks for; the server refuses 0."""


class Polls:
    """Requests of one `wait`, until the submission has ended or the time is over."""

    def __init__(self, timeout_s: float, on_waiting: Callable[[SubmissionWait], None] | None) -> None:
        """Call `on_waiting`, if it is given, with what the submission waits for after each request."""
        self._deadline, self._on_waiting = time.monotonic() + timeout_s, on_waiting
        self._longest_s = LONGEST_WAIT_S if on_waiting is None else WAITING_POLL_S
        self._asked_s = 0.0

    def wait_s(self) -> float:
        """Return for how long the next request waits at the server, in seconds."""
        self._asked_s = time.monotonic()
        return max(_LEAST_WAIT_S, min(self._longest_s, self._deadline - self._asked_s))

    def pause_s(self, answer: SubmissionShown) -> float:
        """Return the pause before the next request, in seconds, after an answer without an end.

        Raises:
            TimeoutError: the time is over.
        """
        if answer.waiting and self._on_waiting:
            self._on_waiting(answer.waiting)
        now_s = time.monotonic()
        if now_s >= self._deadline:
            raise TimeoutError(
                f"submission {answer.id} has not ended, but is {answer.status}; it was not cancelled"
            )
        is_early = now_s - self._asked_s < _EARLY_PAUSE_S
        return min(_EARLY_PAUSE_S, self._deadline - now_s) if is_early else 0.0
