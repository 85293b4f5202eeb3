"""What is asked, how often it is tried, and how the answer is read: the same for both clients."""

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

from ingest.client.errors import RefusedError, UnavailableError
from ingest.models import Batch, Page, System
from topics.request.model import FieldError, SubmissionRequest
from topics.submissions.state import Answer

T = TypeVar("T")

LONGEST_WAIT_S = 30.0
"""How long one request may be held open by the server; longer waits are several requests."""
_ANSWER_TIMEOUT_S = 20.0
"""For an answer that nothing is waited for: above the server's own deadlines."""
CONNECT_TIMEOUT_S = 5.0
_PAUSES_S = (0.1, 0.5, 1.0, 2.0)
"""Between tries."""
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_LATER = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
FIRST_POLL_S, LONGEST_POLL_S = 0.1, 1.0

Request = SubmissionRequest | Mapping[str, Any]


class _Problem(BaseModel):
    """What is used of an `application/problem+json`."""

    detail: str
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request that may be sent again."""

    about: str
    method: str
    path: str
    read: Callable[[bytes], T]
    timeout_s: float = _ANSWER_TIMEOUT_S
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of httpx."""


class Tries(Generic[T]):
    """Of one call, to one server: how long and how often."""

    def __init__(self, call: Call[T], base_url: str) -> None:
        self._call, self._base_url = call, base_url
        self._deadline = time.monotonic() + call.timeout_s
        self._pauses_s = iter(_PAUSES_S)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Of `httpx.Client.request`, for the next try."""
        left_s = max(self._deadline - time.monotonic(), 0.001)
        timeout = httpx.Timeout(left_s, connect=min(left_s, CONNECT_TIMEOUT_S))
        return {"method": self._call.method, "url": self._call.path, "timeout": timeout} | dict(
            self._call.arguments
        )

    def pause_s(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """How long to wait before the next try; None where this was the last."""
        pause_s = next(self._pauses_s, math.inf)
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in _LATER:
                return None
            pause_s = max(pause_s, _retry_after_s(outcome))
        return pause_s if time.monotonic() + pause_s <= self._deadline else None

    def why(self, outcome: httpx.Response | httpx.TransportError) -> str:
        """Why it is tried again, for people."""
        if isinstance(outcome, httpx.Response):
            return f"{self._base_url} answers {outcome.status_code} {outcome.reason_phrase}"
        return f"no answer from {self._base_url}: {_without_number(outcome)}"

    def result(self, outcome: httpx.Response | httpx.TransportError) -> T:
        """The answer.

        Raises:
            RefusedError, UnavailableError: there is none.
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
            raise UnavailableError(f"{self._base_url} does not speak as Envicutor does") from None


def reason(error: Exception) -> str:
    """Why there was no answer, without the system's numbers."""
    why = _without_number(error)
    return f"{why}; is it running there?" if isinstance(error, httpx.ConnectError) else why


def _without_number(error: Exception) -> str:
    return _ERRNO.sub("", str(error)) or type(error).__name__


def failure(about: str, response: httpx.Response) -> RefusedError | UnavailableError:
    """What an answer means that is an error."""
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        problem = _Problem(detail=response.reason_phrase)
    if response.is_client_error and response.status_code not in _LATER:
        return RefusedError(response.status_code, problem.detail, problem.errors)
    return UnavailableError(f"no answer about {about}: {response.status_code}, {problem.detail}")


def _retry_after_s(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


# -- the calls ---------------------------------------------------------------------------------------

ANSWER = TypeAdapter(Answer).validate_json


def authorization(key: str | None) -> dict[str, str]:
    """Headers that show an API key: this one, else ENVICUTOR_KEY, else none.

    Raises:
        ValueError: no key looks like that.
    """
    found = (key or os.environ.get("ENVICUTOR_KEY") or "").strip()
    if not found.isascii() or " " in found or not found.isprintable():
        raise ValueError("the API key has characters that no key has: give it as it was shown")
    return {"Authorization": f"Bearer {found}"} if found else {}


def silent(_why: str) -> None:
    """Nobody is told that something is tried again."""


def path_of(id: str, *below: str) -> str:
    """Of a submission, or of something of it."""
    return "/".join(["/submissions", quote(id, safe=""), *below])


def submit(request: Request, wait_s: float) -> Call[Answer]:
    """Submit one."""
    body = with_id(request)
    wait_s = min(wait_s, LONGEST_WAIT_S)
    waiting = {"wait": "true", "wait_timeout_s": str(wait_s)} if wait_s > 0 else {}
    arguments = {"params": waiting, "json": body}
    return Call(body["id"], "POST", "/submissions", ANSWER, wait_s + _ANSWER_TIMEOUT_S, arguments)


def submit_batch(requests: Sequence[Request]) -> Call[Batch]:
    """Submit several."""
    bodies = [with_id(request) for request in requests]
    read = TypeAdapter(Batch).validate_json
    return Call("a batch", "POST", "/submissions/batch", read, arguments={"json": bodies})


def with_id(request: Request) -> dict[str, Any]:
    """The request as it is sent; where it has no id one is made, so that it may be sent again."""
    body = dict(request) if isinstance(request, Mapping) else request.model_dump(exclude_unset=True)
    return body if body.get("id") is not None else body | {"id": str(uuid.uuid4())}


def get(id: str) -> Call[Answer]:
    """Look."""
    return Call(id, "GET", path_of(id), ANSWER)


def request(id: str) -> Call[SubmissionRequest]:
    """What was asked for."""
    return Call(id, "GET", path_of(id, "request"), SubmissionRequest.model_validate_json)


def cancel(id: str) -> Call[Answer]:
    """Cancel."""
    return Call(id, "DELETE", path_of(id), ANSWER)


def output(id: str, case: int, name: str) -> Call[bytes]:
    """An output file."""
    return Call(id, "GET", path_of(id, "outputs", str(case), quote(name)), bytes)


def page(filters: Mapping[str, Any]) -> Call[Page]:
    """A page of a list."""
    given = {name: value for name, value in filters.items() if value is not None}
    return Call("the list", "GET", "/submissions", Page.model_validate_json, arguments={"params": given})


def system() -> Call[System]:
    """The system as it is now."""
    return Call("the system", "GET", "/system", System.model_validate_json)
