"""A client of Envicutor over HTTP; it needs httpx, pydantic and `topics` only.

with Client("http://127.0.0.1:8000") as client:
    answer = client.wait(client.submit({"run": "echo hello"}).id, timeout_s=60)
"""

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from topics.request import FieldError, SubmissionRequest
from topics.submissions.state import FINAL, Answer

LONGEST_WAIT_S = 30.0
"""How long one request may be held open by the server; longer waits are several requests."""
_ANSWER_TIMEOUT_S = 20.0
"""For an answer that nothing is waited for: above the server's own deadlines."""
_CONNECT_TIMEOUT_S = 5.0
_PAUSES_S = (0.1, 0.5, 1.0, 2.0)
"""Between tries."""
_FIRST_POLL_S, _LONGEST_POLL_S = 0.1, 1.0


class ClientError(Exception):
    """There is no answer; the message says what to do."""


class RefusedError(ClientError):
    """The server does not accept the request (4xx): it must be changed."""

    def __init__(self, status: int, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status, self.errors = status, tuple(errors)


class UnavailableError(ClientError):
    """The server could not be reached or did not answer; the same request with its id may be sent again."""


class _Problem(BaseModel):
    """What is used of an `application/problem+json`."""

    detail: str
    errors: tuple[FieldError, ...] = ()


class Client:
    """One server. What fails on the way there or back is tried again, a few times."""

    def __init__(self, base_url: str = "http://127.0.0.1:8000") -> None:
        self._base_url = base_url
        self._http = httpx.Client(base_url=base_url, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def submit(self, request: SubmissionRequest | Mapping[str, Any], *, wait_s: float = 0.0) -> Answer:
        """Submit, and wait up to `wait_s` (at most `LONGEST_WAIT_S`) for it to be finished.

        An id is made where the request has none, so that trying again never makes a second submission.

        Raises:
            RefusedError: the request cannot be accepted.
            UnavailableError: whether it was accepted is unknown; the message names the id.
        """
        body = dict(request) if isinstance(request, Mapping) else request.model_dump(exclude_unset=True)
        if body.get("id") is None:
            body["id"] = str(uuid.uuid4())
        wait_s = min(wait_s, LONGEST_WAIT_S)
        waiting = {"wait": "true", "wait_timeout_s": str(wait_s)} if wait_s > 0 else {}
        timeout_s = wait_s + _ANSWER_TIMEOUT_S
        return self._ask(body["id"], "POST", "/submissions", timeout_s, params=waiting, json=body)

    def get(self, id: str) -> Answer:
        """The submission as it is now.

        Raises:
            RefusedError: there is none with this id (status 404).
            UnavailableError: the server did not answer.
        """
        return self._ask(id, "GET", f"/submissions/{quote(id, safe='')}", _ANSWER_TIMEOUT_S)

    def wait(self, id: str, timeout_s: float) -> Answer:
        """The submission once nothing will change any more.

        Raises:
            TimeoutError: it is not finished after `timeout_s`.
            RefusedError, UnavailableError: see `get`.
        """
        deadline, pause_s = time.monotonic() + timeout_s, _FIRST_POLL_S
        while (answer := self.get(id)).status not in FINAL:
            if time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"submission {id} is still {answer.status}")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        return answer

    def _ask(self, id: str, method: str, path: str, timeout_s: float, **request: Any) -> Answer:
        deadline, pauses_s = time.monotonic() + timeout_s, iter(_PAUSES_S)
        while True:
            left_s = max(deadline - time.monotonic(), 0.001)
            timeout = httpx.Timeout(left_s, connect=min(left_s, _CONNECT_TIMEOUT_S))
            pause_s = next(pauses_s, math.inf)
            try:
                response = self._http.request(method, path, timeout=timeout, **request)
            except httpx.TransportError as error:
                if time.monotonic() + pause_s > deadline:
                    why = str(error) or type(error).__name__
                    raise UnavailableError(f"no answer about {id} from {self._base_url}: {why}") from error
            else:
                pause_s = max(pause_s, _retry_after_s(response))
                if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE or (
                    time.monotonic() + pause_s > deadline
                ):
                    return self._read(id, response)
            time.sleep(pause_s)

    def _read(self, id: str, response: httpx.Response) -> Answer:
        if response.is_success:
            try:
                return Answer.model_validate_json(response.content)
            except ValidationError:
                raise UnavailableError(f"{self._base_url} does not speak as Envicutor does") from None
        problem = _problem(response)
        if response.is_client_error:
            raise RefusedError(response.status_code, problem.detail, problem.errors)
        raise UnavailableError(f"no answer about {id}: {response.status_code}, {problem.detail}")


def _problem(response: httpx.Response) -> _Problem:
    try:
        return _Problem.model_validate_json(response.content)
    except ValidationError:
        return _Problem(detail=response.reason_phrase)


def _retry_after_s(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0
