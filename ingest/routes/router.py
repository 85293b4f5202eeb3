"""Router and path parameter that all routes of submissions share."""

from typing import Annotated

from fastapi import APIRouter, Path

from ingest.openapi import problems
from topics.request.files import ID_PATTERN

Id = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the submission.")]


def submissions_router() -> APIRouter:
    """Return a router whose routes are below `/submissions`, with the problems that all may answer."""
    return APIRouter(prefix="/submissions", responses=problems(401, 403, 421, 422, 429, 431, 500, 503))
