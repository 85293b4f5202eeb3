"""The OpenAPI document of bodies that are read and sent as they are, without FastAPI's own validation."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ingest.story import Happened
from topics.request import SubmissionRequest
from topics.submissions.output import OutputChunk

_MODELS: tuple[type[BaseModel], ...] = (SubmissionRequest, Happened, OutputChunk)
_REFERENCE = "#/components/schemas/{model}"


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

    app.openapi = openapi  # type: ignore[method-assign]
