"""HTTP requests of both clients, and how their responses are parsed."""

import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter

from envicutor_client.models import (
    Answer,
    BatchResults,
    Language,
    LanguageList,
    SubmissionPage,
    SubmissionRequest,
    SubmissionShown,
    System,
    WireModel,
)

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
LONGEST_WAIT_S = 30.0
"""Longest time for which one request waits at the server; longer waits need several requests."""
ANSWER_TIMEOUT_S = 20.0
"""Timeout of a request that does not wait for a submission, above the server's own timeouts."""
CONNECT_TIMEOUT_S = 5.0
"""Timeout of a connection attempt."""
BATCH = 100
"""Requests of a batch, and ids of one look-up, at most."""
LIMITS = httpx.Limits(max_connections=None)
"""Any number of requests at once: a request that waits holds its connection for up to 30 s."""

Request = SubmissionRequest | Mapping[str, Any]
"""Request for a submission: a model, or the JSON object as a mapping."""


class SubmissionsOfIds(WireModel):
    """Response with the submissions of several ids, in their order; None for an unknown id."""

    submissions: list[SubmissionShown | None]


@dataclass(frozen=True)
class Call(Generic[T]):
    """Idempotent HTTP request, and how its response is parsed."""

    about: str
    """Subject of the request in error messages, such as an id."""
    method: str
    path: str
    read: Callable[[bytes], T]
    timeout_s: float = ANSWER_TIMEOUT_S
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `httpx.Client.request`."""


def http_arguments(base_url: str | None, key: str | None) -> dict[str, Any]:
    """Return the arguments of `httpx.Client` and `httpx.AsyncClient`.

    Raises:
        ValueError: the key contains characters that no API key has.
    """
    url = base_url or os.environ.get("ENVICUTOR_SERVER") or DEFAULT_URL
    return {"base_url": url, "headers": authorization(key), "limits": LIMITS, "trust_env": False}


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
    """Ignore that a request is tried again; the default of the clients."""


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
    arguments = {"params": params, **_json(body)}
    return Call(body["id"], "POST", "/submissions", _model(Answer), wait_s + ANSWER_TIMEOUT_S, arguments)


def submit_batch(requests: Sequence[Request]) -> Call[BatchResults]:
    """Return the call that submits a batch of requests."""
    bodies = [with_id(request) for request in requests]
    read = _model(BatchResults)
    return Call("a batch", "POST", "/submissions/batch", read, arguments=_json(bodies))


def with_id(request: Request) -> dict[str, Any]:
    """Return the request as a JSON object, with a new id if it has none, so that it may be sent again."""
    body = dict(request) if isinstance(request, Mapping) else dump(request)
    return body if body.get("id") is not None else body | {"id": str(uuid.uuid4())}


def dump(model: BaseModel) -> dict[str, Any]:
    """Return the fields that were given to a model as a JSON object, without any defaults."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def get(id: str, wait_s: float) -> Call[SubmissionShown]:
    """Return the call that reads the state of a submission, and waits up to `wait_s` for its end."""
    params, wait_s = _waiting(wait_s)
    timeout_s = wait_s + ANSWER_TIMEOUT_S
    return Call(id, "GET", path_of(id), _model(SubmissionShown), timeout_s, {"params": params})


def get_many(ids: Sequence[str]) -> Call[list[SubmissionShown | None]]:
    """Return the call that reads the states of up to `BATCH` submissions."""

    def read(content: bytes) -> list[SubmissionShown | None]:
        return SubmissionsOfIds.model_validate_json(content).submissions

    arguments = {"params": {"id": list(ids)}}
    return Call(f"{len(ids)} submissions", "GET", "/submissions", read, arguments=arguments)


def request(id: str) -> Call[SubmissionRequest]:
    """Return the call that reads the request of a submission."""
    return Call(id, "GET", path_of(id, "request"), _model(SubmissionRequest))


def cancel(id: str) -> Call[Answer]:
    """Return the call that cancels a submission."""
    return Call(id, "DELETE", path_of(id), _model(Answer))


def output(id: str, case: int, name: str) -> Call[bytes]:
    """Return the call that reads an output file of the test case with index `case`."""
    return Call(id, "GET", path_of(id, "outputs", str(case), quote(name)), bytes)


def page(filters: Mapping[str, Any]) -> Call[SubmissionPage]:
    """Return the call that reads a page of the list of submissions."""
    given = {name: value for name, value in filters.items() if value is not None}
    return Call("the list", "GET", "/submissions", _model(SubmissionPage), arguments={"params": given})


def system() -> Call[System]:
    """Return the call that reads the overview of the system."""
    return Call("the system", "GET", "/system", _model(System))


def languages() -> Call[Sequence[Language]]:
    """Return the call that lists the languages that the server has presets for."""

    def read(content: bytes) -> Sequence[Language]:
        return LanguageList.model_validate_json(content).languages

    return Call("the languages", "GET", "/languages", read)


def _waiting(wait_s: float) -> tuple[dict[str, str], float]:
    """Return the parameters of a request that waits for a submission, and for how long it then does."""
    wait_s = min(wait_s, LONGEST_WAIT_S)
    return ({"wait": "true", "wait_timeout_s": str(wait_s)}, wait_s) if wait_s > 0 else ({}, 0.0)


def _json(body: object) -> dict[str, Any]:
    """Return the arguments that send a JSON body; models within it are sent as their fields."""
    text = json.dumps(body, default=dump, ensure_ascii=False)
    return {"content": text.encode(), "headers": {"Content-Type": "application/json"}}


def _model(model: type[T]) -> Callable[[bytes], T]:
    return TypeAdapter(model).validate_json
