"""The OpenAPI document of bodies that are read as they came, without FastAPI's own validation."""

from typing import Any

from fastapi import FastAPI

from topics.request import SubmissionRequest

_REFERENCE = "#/components/schemas/{model}"


def document_request(app: FastAPI) -> None:
    """Add the schema of a request to the document that `app` serves."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = SubmissionRequest.model_json_schema(ref_template=_REFERENCE)
            definitions = schema.pop("$defs", {})
            document = plain()
            components = document.setdefault("components", {}).setdefault("schemas", {})
            components.update(definitions | {SubmissionRequest.__name__: schema})
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
