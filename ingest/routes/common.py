"""What routes of submissions share."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Path

from ingest.openapi import problems

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The submission's id.")]

NAMESPACE = uuid.UUID("6f1c9d8e-5c0b-5d0e-9b6e-2f5a5f8d7a11")
"""Of the ids that are made of idempotency keys; never to be changed."""


def submissions_router() -> APIRouter:
    """All of whose routes are below `/submissions`."""
    return APIRouter(prefix="/submissions", responses=problems(421, 422, 431, 500, 503))
