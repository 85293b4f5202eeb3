"""The OpenAPI document of what is read and sent as it is, without FastAPI's own validation."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ingest.models import Happened, Problem
from topics.request.model import SubmissionRequest
from topics.submissions.output import OutputChunk
from topics.submissions.state import Answer

Responses = dict[int | str, dict[str, Any]]

_MODELS: tuple[type[BaseModel], ...] = (SubmissionRequest, Answer, Happened, OutputChunk, Problem)
_REFERENCE = "#/components/schemas/{model}"


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def request_body() -> dict[str, Any]:
    """A request."""
    return _json_body(_schema(SubmissionRequest))


def batch_body(most: int) -> dict[str, Any]:
    """Several requests; each is judged on its own, so they may be anything."""
    items = {"anyOf": [_schema(SubmissionRequest), {}]}
    return _json_body({"type": "array", "minItems": 1, "maxItems": most, "items": items})


def problems(*statuses: int) -> Responses:
    """Answers that are errors."""
    content = {"application/problem+json": {"schema": _schema(Problem)}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


A_SUBMISSION = {
    "description": "The submission; with `fields`, only these.",
    "content": {"application/json": {"schema": {"anyOf": [_schema(Answer), {"type": "object"}]}}},
}
FILE = {
    "description": "The file: an image to be shown, or anything to be saved.",
    "content": {
        media_type: {"schema": {"type": "string", "format": "binary"}}
        for media_type in ("application/octet-stream", "image/png", "image/jpeg", "image/gif", "image/webp")
    },
}
_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "description": "One event.",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT | {"description": "JSON."}},
}
EVENT_STREAM: Responses = {
    200: {
        "description": "Server-sent events: each fact under its name (`requested`, `started`, `finished` …), "
        "with a Happened as data; `output`, with an OutputChunk, while the program runs; last `end`, with "
        "the answer.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "The end was told before, nothing will come any more."},
}


def document_models(app: FastAPI) -> None:
    """Add their schemas to the document that `app` serves."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            components = document.setdefault("components", {}).setdefault("schemas", {})
            for model in _MODELS:
                schema = model.model_json_schema(ref_template=_REFERENCE)
                components.update(schema.pop("$defs", {}) | {model.__name__: schema})
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document
