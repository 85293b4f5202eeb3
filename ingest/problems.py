"""Error responses, as `application/problem+json` (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ingest.models import Problem
from topics.request.errors import FieldError, InvalidRequestError, NotJsonError, RequestTooLargeError
from topics.request.parsing import MAX_FIELD_ERRORS

_INTERNAL_ERROR = "whether anything was accepted is unknown: the same request with its id may be sent again"
CLIENT_GONE = 499
"""Status in log and metrics of a request whose client disconnected before its end, as in nginx."""
_TYPE = "https://envicutor.example/problems/"


class ProblemError(Exception):
    """Error that becomes a response; `kind` is the stable last part of its `type`."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers = errors, headers

    def problem(self) -> Problem:
        """Return the body of the response."""
        return Problem(
            type=_TYPE + self.kind,
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            errors=list(self.errors),
        )


def invalid(error: InvalidRequestError) -> ProblemError:
    """Return the problem for a request that cannot be accepted: 400, 413 or 422."""
    match error:
        case NotJsonError():
            return ProblemError(400, "not-json", str(error.errors[0].message), errors=error.errors)
        case RequestTooLargeError():
            return ProblemError(413, "too-large", str(error.errors[0].message), errors=error.errors)
        case _:
            return ProblemError(422, "invalid-request", str(error), errors=error.errors)


def response(problem: ProblemError) -> Response:
    """Return a problem as an HTTP response."""
    body = problem.problem().model_dump_json()
    return Response(body, problem.status, problem.headers, "application/problem+json")


def install(app: FastAPI) -> None:
    """Install handlers that turn every error into a problem."""

    @app.exception_handler(ProblemError)
    async def _problem(_: Request, error: ProblemError) -> Response:
        return response(error)

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, __: ClientDisconnect) -> Response:  # only log and metrics see it
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def _fault(_: Request, __: Exception) -> Response:  # the server logs it
        return response(ProblemError(500, "internal-error", _INTERNAL_ERROR))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        headers = dict(error.headers) if error.headers else None
        return response(ProblemError(error.status_code, kind, str(error.detail), headers=headers))

    @app.exception_handler(RequestValidationError)
    async def _parameters(_: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        errors = [
            FieldError(
                field=".".join(str(part) for part in details["loc"]),
                message="there is no such parameter"
                if details["type"] == "extra_forbidden"
                else details["msg"].removeprefix("Value error, "),
                limit=next(iter(details.get("ctx", {}).values()), None),
            )
            for details in found[:MAX_FIELD_ERRORS]
        ]
        if more := len(found) - len(errors):
            errors.append(FieldError(field="", message=f"and {more} more"))
        detail = "; ".join(map(str, errors))
        return response(ProblemError(422, "invalid-parameters", detail, errors=errors))
