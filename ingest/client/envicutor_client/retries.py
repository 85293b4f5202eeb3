"""Tries of a request, the pauses between them, and the time after which the client gives up."""

import time
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import httpx
from pydantic import ValidationError

from envicutor_client.calls import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Call
from envicutor_client.errors import UnavailableError
from envicutor_client.failures import (
    RETRIED_STATUSES,
    failure,
    not_envicutor,
    retry_after_s,
    why_no_response,
    without_number,
)

T = TypeVar("T")

_FIRST_PAUSES_S = (0.1, 0.5, 1.0)
_LATER_PAUSES_S = 2.0


class Pauses:
    """Pauses between tries, which end some time after the first of several failures in a row."""

    def __init__(self, retry_s: float) -> None:
        """Give up if `retry_s` have passed since the first failure."""
        self._retry_s = retry_s
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget earlier failures, since the server has answered."""
        self._steps_s = iter(_FIRST_PAUSES_S)
        self._failing_since_s: float | None = None

    def next_s(self, at_least_s: float = 0.0) -> float | None:
        """Return the pause after a failure, at least `at_least_s`, or None if there should be no further try.

        The last pause may end later than `retry_s`, so that one pause that the server asks for is kept.
        """
        now_s = time.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if now_s - self._failing_since_s > self._retry_s or at_least_s > max(self._retry_s, ANSWER_TIMEOUT_S):
            return None
        return max(next(self._steps_s, _LATER_PAUSES_S), at_least_s)


class Tries(Generic[T]):
    """Tries of one call to one server, bounded in time."""

    def __init__(self, call: Call[T], base_url: str, retry_s: float) -> None:
        self._call, self._base_url = call, base_url
        self._deadline = time.monotonic() + call.timeout_s + retry_s
        self._pauses = Pauses(retry_s)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of `httpx.Client.request` for the next try."""
        left_s = max(min(self._call.timeout_s, self._deadline - time.monotonic()), 0.001)
        timeout = httpx.Timeout(left_s, connect=min(left_s, CONNECT_TIMEOUT_S))
        first = {"method": self._call.method, "url": self._call.path, "timeout": timeout}
        return first | dict(self._call.arguments)

    def pause_s(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Return the pause before the next try, or None if there is to be none."""
        if isinstance(outcome, httpx.TransportError):
            return self._pauses.next_s()
        if outcome.status_code not in RETRIED_STATUSES:
            return None
        return self._pauses.next_s(retry_after_s(outcome))

    def why(self, outcome: httpx.Response | httpx.TransportError) -> str:
        """Return a message that explains why the call is tried again."""
        if isinstance(outcome, httpx.Response):
            return f"{self._base_url} answers {outcome.status_code} {outcome.reason_phrase}"
        return f"no answer from {self._base_url}: {without_number(outcome)}"

    def result(self, outcome: httpx.Response | httpx.TransportError) -> T:
        """Return the parsed response of the last try.

        Raises:
            RequestRefusedError: the server refused the request.
            UnavailableError: the server did not answer, or has no capacity, or is not Envicutor.
        """
        about = self._call.about
        if isinstance(outcome, httpx.TransportError):
            why = why_no_response(outcome)
            raise UnavailableError(f"no answer about {about} from {self._base_url}: {why}") from outcome
        if not outcome.is_success:
            raise failure(about, outcome)
        try:
            return self._call.read(outcome.content)
        except ValidationError:
            raise not_envicutor(self._base_url) from None
