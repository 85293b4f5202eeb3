"""Responses and broken connections as errors of the clients."""

import re
from http import HTTPStatus

import httpx
from pydantic import ValidationError

from envicutor_client.errors import RequestRefusedError, UnavailableError
from envicutor_client.models import FieldError, WireModel

RETRIED_STATUSES = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.INSUFFICIENT_STORAGE,
    HTTPStatus.BAD_GATEWAY,  # a proxy in front of a server that restarts
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Statuses after which the same request is sent again."""
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class ProblemFields(WireModel):
    """Fields of an `application/problem+json` that the clients use."""

    detail: str
    errors: tuple[FieldError, ...] = ()


def failure(about: str, response: httpx.Response) -> RequestRefusedError | UnavailableError:
    """Return the error that an unsuccessful response stands for."""
    try:
        problem = ProblemFields.model_validate_json(response.content)
    except ValidationError:
        problem = ProblemFields(detail=response.reason_phrase)
    if response.is_client_error and response.status_code not in RETRIED_STATUSES:
        return RequestRefusedError(response.status_code, problem.detail, problem.errors)
    return UnavailableError(f"no answer about {about}: {response.status_code}, {problem.detail}")


def not_envicutor(base_url: str) -> UnavailableError:
    """Return the error of a response that Envicutor does not give."""
    return UnavailableError(f"{base_url} answers, but not as Envicutor does: check the address")


def retry_after_s(response: httpx.Response) -> float:
    """Return the seconds after which the server asks to try again, 0 if it does not ask."""
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


def why_no_response(error: Exception) -> str:
    """Return why there was no response, without the operating system's error numbers."""
    why = without_number(error)
    return f"{why}; is it running there?" if isinstance(error, httpx.ConnectError) else why


def without_number(error: Exception) -> str:
    """Return the text of an error, without the operating system's error number."""
    return _ERRNO.sub("", str(error)) or type(error).__name__
