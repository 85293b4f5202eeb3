"""Errors as clients see them."""

import asyncio
import json
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException

from ingest.problems import ProblemError, install, invalid, response
from topics.request.errors import InvalidRequestError
from topics.request.parsing import parse_request

APP = FastAPI()
install(APP)


@APP.get("/wait")
async def wait(timeout_s: Annotated[float, Query(le=60)] = 1) -> None:
    if timeout_s == 7:
        raise ProblemError(503, "unavailable", "try later", headers={"Retry-After": "1"})
    if timeout_s == 8:
        raise HTTPException(401, "who are you?", headers={"WWW-Authenticate": "Bearer"})


def get(path: str, method: str = "GET") -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(APP)
        async with httpx.AsyncClient(transport=transport, base_url="http://envicutor") as client:
            return await client.request(method, path)

    return asyncio.run(request())


def problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == answer.status_code
    return body


@pytest.mark.parametrize(
    ("raw", "status", "kind", "field", "limit"),
    [
        (b"{", 400, "not-json", "", None),
        (b'{"run": "' + b"x" * 100, 413, "too-large", "", 100),
        (b'{"run": "x", "y": 1}', 422, "invalid-request", "y", None),
        (b'{"run": "x", "limits": {"run": {"cpus": 9}}}', 422, "invalid-request", "limits.run.cpus", 2),
    ],
)
def test_refused_requests(raw: bytes, status: int, kind: str, field: str, limit: float | None) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        parse_request(raw, 100)
    answer = response(invalid(refusal.value))
    body = json.loads(bytes(answer.body))
    assert (answer.status_code, body["status"]) == (status, status)
    assert body["type"].endswith("/problems/" + kind)
    assert answer.media_type == "application/problem+json"
    assert [(error["field"], error["limit"]) for error in body["errors"]] == [(field, limit)]
    assert body["errors"][0]["message"] in body["detail"]


def test_parameters_are_told_like_fields() -> None:
    body = problem(get("/wait?timeout_s=61"))
    assert body["status"] == 422
    [error] = body["errors"]
    assert (error["field"], error["limit"]) == ("query.timeout_s", 60)


def test_headers_of_problems_are_kept() -> None:
    assert get("/wait?timeout_s=7").headers["retry-after"] == "1"
    assert problem(get("/wait?timeout_s=7"))["detail"] == "try later"
    assert get("/wait?timeout_s=8").headers["www-authenticate"] == "Bearer"


def test_errors_of_the_framework_have_the_same_form() -> None:
    assert problem(get("/nowhere"))["title"] == "Not Found"
    assert problem(get("/wait", "POST"))["type"].endswith("/method-not-allowed")
