"""Parts of the OpenAPI document for bodies that ingest reads and writes without FastAPI's validation."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ingest.examples import REQUESTS
from ingest.models import EventPayload, Problem, SubmissionPage, SubmissionsById, SubmissionShown
from topics.request.ceilings import Ceilings, add_maxima
from topics.request.model import SubmissionRequest
from topics.submissions.output import OutputChunk
from topics.submissions.state import Answer
from topics.submissions.webhook import Ended

Responses = dict[int | str, dict[str, Any]]

_MODELS: tuple[type[BaseModel], ...] = (
    SubmissionRequest,
    Answer,
    SubmissionPage,
    SubmissionShown,
    SubmissionsById,
    EventPayload,
    OutputChunk,
    Problem,
)
_RETRIED = {429, 503, 507}
_REFERENCE = "#/components/schemas/{model}"


def _header(name: str, description: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}}}


_RETRY_AFTER = _header("Retry-After", "Seconds after which the request may be sent again.")
_LOCATION = _header("Location", "Path of the submission.")
_ETAG = _header("ETag", "Tag for `If-None-Match`; only that of a submission that has ended.")


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _json_body(schema: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


def request_body() -> dict[str, Any]:
    """Return the OpenAPI entry for the body of a POST that submits one request."""
    return _json_body(_schema(SubmissionRequest), REQUESTS)


def batch_body(most: int) -> dict[str, Any]:
    """Return the OpenAPI entry for a batch of up to `most` requests.

    The items may be any JSON, since each is validated on its own and gets a result of its own.
    """
    items = {"anyOf": [_schema(SubmissionRequest), {}]}
    two = [REQUESTS["script"]["value"], REQUESTS["judge"]["value"]]
    examples = {"two": {"summary": "Two requests", "value": two}}
    return _json_body({"type": "array", "minItems": 1, "maxItems": most, "items": items}, examples)


def problems(*statuses: int) -> Responses:
    """Return the OpenAPI entries for error responses with these statuses."""
    content = {"application/problem+json": {"schema": _schema(Problem)}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        | ({"headers": _RETRY_AFTER} if status in _RETRIED else {})
        for status in statuses
    }


LIST_OR_SUBMISSIONS = {
    "description": "A page of the list, or with `id` the submissions of these ids; with `fields` only these.",
    "content": {
        "application/json": {"schema": {"anyOf": [_schema(SubmissionPage), _schema(SubmissionsById)]}}
    },
}
A_SUBMISSION = {
    "description": "The submission, or with `fields` an object with only these.",
    "headers": _ETAG,
    "content": {"application/json": {"schema": {"anyOf": [_schema(SubmissionShown), {"type": "object"}]}}},
}
NOT_MODIFIED: Responses = {
    304: {"description": "The `ETag` of `If-None-Match` still matches.", "headers": _ETAG}
}
A_REQUEST = {"description": "The request.", "headers": _ETAG}
ACCEPTED = {"description": "The submission, which is accepted and has not ended yet.", "headers": _LOCATION}
ENDED = {"description": "The final submission (with `wait`).", "headers": _LOCATION}
FILE = {
    "description": "The file: inline if it is an image, otherwise as an attachment.",
    "headers": _ETAG,
    "content": {
        media_type: {"schema": {"type": "string", "format": "binary"}}
        for media_type in ("application/octet-stream", "image/png", "image/jpeg", "image/gif", "image/webp")
    },
}
_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "description": "A server-sent event.",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT | {"description": "JSON."}},
}
EVENT_STREAM: Responses = {
    200: {
        "description": "Server-sent events: each fact under its name (`requested`, `started`, `finished` …), "
        "with an EventPayload as data; `waiting`, with an EventPayload whose `fact` is a SubmissionWait and "
        "without an id, until the program runs, also at each step of the build of its environment; `output`, "
        "with an OutputChunk, while it runs; finally `end`, with the final submission.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {
        "description": "The stream has ended: `Last-Event-ID` is the id of `end`, and no event follows it."
    },
}


def document_models(app: FastAPI, ceilings: Ceilings) -> None:
    """Add the schemas of `_MODELS` to the OpenAPI document that `app` serves, with the ceilings of limits."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            components = document.setdefault("components", {}).setdefault("schemas", {})
            for model in _MODELS:
                schema = model.model_json_schema(ref_template=_REFERENCE)
                components.update(schema.pop("$defs", {}) | {model.__name__: schema})
            add_maxima(components, ceilings)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def document_webhooks(app: FastAPI) -> None:
    """Describe the webhooks that the system sends in the OpenAPI document of `app`."""

    @app.webhooks.post(
        "submission-ended",
        responses={
            200: {"description": "The receiver has accepted the webhook."},
            "default": {"description": "It has not: the webhook is sent again later."},
        },
    )
    def submission_ended(body: Ended) -> None:
        """Receive a signed POST at a request's `callback_url` when its submission ends; see docs/http.md."""
