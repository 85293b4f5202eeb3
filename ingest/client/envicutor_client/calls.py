"""HTTP requests of both clients: their content, their retries, and how responses are parsed."""

import math
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from envicutor_client.errors import RequestRefusedError, UnavailableError
from ingest.models import BatchResults, SubmissionPage, SubmissionShown, SubmissionWait, System
from topics.request.errors import FieldError
from topics.request.model import SubmissionRequest
from topics.submissions.state import Answer

T = TypeVar("T")

LONGEST_WAIT_S = 30.0
"""Longest time for which one request waits at the server; longer waits need several requests."""
_ANSWER_TIMEOUT_S = 20.0
"""Timeout of a request that does not wait for a submission, above the server's own timeouts."""
CONNECT_TIMEOUT_S = 5.0
"""Timeout of a connection attempt."""
_PAUSES_S = (0.1, 0.5, 1.0, 2.0)
"""Pauses between the tries of a request, of which there are at most five."""
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_RETRIED_STATUSES = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
WAITING_POLL_S = 2.0
"""Longest time of one request of `wait`, if its caller follows what the submission waits for."""
_EARLY_PAUSE_S = 0.5
"""Time after which `wait` asks again if the server responded before its end: one that shuts down, or an
earlier version."""

_LEAST_WAIT_S = 0.001
"""Shortest wait that a request asks for; the server refuses 0."""
LIMITS = httpx.Limits(max_connections=None)
"""Any number of requests at once: a request that waits holds its connection for up to 30 s."""

Request = SubmissionRequest | Mapping[str, Any]


class _Problem(BaseModel):
    """Fields of an `application/problem+json` that the clients use."""

    detail: str
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True)
class Call(Generic[T]):
    """Idempotent HTTP request, and how its response is parsed."""

    about: str
    """Subject of the request in error messages, such as an id."""
    method: str
    path: str
    read: Callable[[bytes], T]
    timeout_s: float = _ANSWER_TIMEOUT_S
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `httpx.Client.request`."""


class Tries(Generic[T]):
    """Tries of one call to one server, bounded in number and time."""

    def __init__(self, call: Call[T], base_url: str) -> None:
        self._call, self._base_url = call, base_url
        self._deadline = time.monotonic() + call.timeout_s
        self._pauses_s = iter(_PAUSES_S)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of `httpx.Client.request` for the next try."""
        left_s = max(self._deadline - time.monotonic(), 0.001)
        timeout = httpx.Timeout(left_s, connect=min(left_s, CONNECT_TIMEOUT_S))
        return {"method": self._call.method, "url": self._call.path, "timeout": timeout} | dict(
            self._call.arguments
        )

    def pause_s(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """Return the pause before the next try, or None if there is to be none."""
        pause_s = next(self._pauses_s, math.inf)
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in _RETRIED_STATUSES:
                return None
            pause_s = max(pause_s, _retry_after_s(outcome))
        return pause_s if time.monotonic() + pause_s <= self._deadline else None

    def why(self, outcome: httpx.Response | httpx.TransportError) -> str:
        """Return a message that explains why the call is tried again."""
        if isinstance(outcome, httpx.Response):
            return f"{self._base_url} answers {outcome.status_code} {outcome.reason_phrase}"
        return f"no answer from {self._base_url}: {_without_number(outcome)}"

    def result(self, outcome: httpx.Response | httpx.TransportError) -> T:
        """Return the parsed response of the last try.

        Raises:
            RequestRefusedError: the server refused the request.
            UnavailableError: the server did not answer, or has no capacity, or is not Envicutor.
        """
        about = self._call.about
        if isinstance(outcome, httpx.TransportError):
            why = reason(outcome)
            raise UnavailableError(f"no answer about {about} from {self._base_url}: {why}") from outcome
        if not outcome.is_success:
            raise failure(about, outcome)
        try:
            return self._call.read(outcome.content)
        except ValidationError:
            raise UnavailableError(
                f"{self._base_url} answers, but not as Envicutor does: check the address"
            ) from None


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


def reason(error: Exception) -> str:
    """Return why there was no response, without the operating system's error numbers."""
    why = _without_number(error)
    return f"{why}; is it running there?" if isinstance(error, httpx.ConnectError) else why


def _without_number(error: Exception) -> str:
    return _ERRNO.sub("", str(error)) or type(error).__name__


def failure(about: str, response: httpx.Response) -> RequestRefusedError | UnavailableError:
    """Return the error that an unsuccessful response stands for."""
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        problem = _Problem(detail=response.reason_phrase)
    if response.is_client_error and response.status_code not in _RETRIED_STATUSES:
        return RequestRefusedError(response.status_code, problem.detail, problem.errors)
    return UnavailableError(f"no answer about {about}: {response.status_code}, {problem.detail}")


def _retry_after_s(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


# -- the calls ---------------------------------------------------------------------------------------


def authorization(key: str | None) -> dict[str, str]:
    """Return a header with an API key: `key`, else that of ENVICUTOR_KEY; without either, no header.

    Raises:
        ValueError: the key contains characters that no API key has.
    """
    found = (key or os.environ.get("ENVICUTOR_KEY") or "").strip()
    if not found.isascii() or " " in found or not found.isprintable():
        raise ValueError("the API key has characters that no key has: give it as it was shown")
    return {"Authorization": f"Bearer {found}"} if found else {}


def ignore_retry(_why: str) -> None:
    """Ignore that a request is tried again; the default of `Client`."""


def path_of(id: str, *below: str) -> str:
    """Return the path of a submission, or of a resource `below` it."""
    return "/".join(["/submissions", quote(id, safe=""), *below])


def submit(request: Request, wait_s: float, *, interactive: bool) -> Call[Answer]:
    """Return the call that submits a request and waits up to `wait_s` for its end.

    `interactive` is whether the client waits for the end by itself, such as on the event stream.
    """
    body = with_id(request)
    params, wait_s = _waiting(wait_s)
    if interactive:
        params["interactive"] = "true"
    arguments = {"params": params, "json": body}
    return Call(body["id"], "POST", "/submissions", Answer.read, wait_s + _ANSWER_TIMEOUT_S, arguments)


def _waiting(wait_s: float) -> tuple[dict[str, str], float]:
    """Return the parameters of a request that waits for a submission, and for how long it then does."""
    wait_s = min(wait_s, LONGEST_WAIT_S)
    return ({"wait": "true", "wait_timeout_s": str(wait_s)}, wait_s) if wait_s > 0 else ({}, 0.0)


def submit_batch(requests: Sequence[Request]) -> Call[BatchResults]:
    """Return the call that submits a batch of requests."""
    bodies = [with_id(request) for request in requests]
    read = TypeAdapter(BatchResults).validate_json
    return Call("a batch", "POST", "/submissions/batch", read, arguments={"json": bodies})


def with_id(request: Request) -> dict[str, Any]:
    """Return the request as a JSON object, with a new id if it has none, so that it may be sent again."""
    body = dict(request) if isinstance(request, Mapping) else request.model_dump(exclude_unset=True)
    return body if body.get("id") is not None else body | {"id": str(uuid.uuid4())}


def get(id: str, wait_s: float) -> Call[SubmissionShown]:
    """Return the call that reads the state of a submission, and waits up to `wait_s` for its end."""
    params, wait_s = _waiting(wait_s)
    return Call(id, "GET", path_of(id), SubmissionShown.read, wait_s + _ANSWER_TIMEOUT_S, {"params": params})


def request(id: str) -> Call[SubmissionRequest]:
    """Return the call that reads the request of a submission."""
    return Call(id, "GET", path_of(id, "request"), SubmissionRequest.model_validate_json)


def cancel(id: str) -> Call[Answer]:
    """Return the call that cancels a submission."""
    return Call(id, "DELETE", path_of(id), Answer.read)


def output(id: str, case: int, name: str) -> Call[bytes]:
    """Return the call that reads an output file of the test case with index `case`."""
    return Call(id, "GET", path_of(id, "outputs", str(case), quote(name)), bytes)


def page(filters: Mapping[str, Any]) -> Call[SubmissionPage]:
    """Return the call that reads a page of the list of submissions."""
    given = {name: value for name, value in filters.items() if value is not None}
    return Call(
        "the list", "GET", "/submissions", SubmissionPage.model_validate_json, arguments={"params": given}
    )


def system() -> Call[System]:
    """Return the call that reads the overview of the system."""
    return Call("the system", "GET", "/system", System.model_validate_json)
