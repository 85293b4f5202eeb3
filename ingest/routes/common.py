"""What routes of submissions share."""

from typing import Annotated

from fastapi import APIRouter, Path

from ingest.openapi import problems
from topics.request.model import ID_PATTERN

Id = Annotated[str, Path(pattern=ID_PATTERN, description="The submission's id.")]


def submissions_router() -> APIRouter:
    """All of whose routes are below `/submissions`."""
    return APIRouter(prefix="/submissions", responses=problems(401, 403, 421, 422, 429, 431, 500, 503))
