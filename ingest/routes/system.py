"""Route of the overview of the system."""

from fastapi import APIRouter, Depends

from ingest.access import Access
from ingest.models import System
from ingest.openapi import problems
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from ingest.system import Overview
from topics.security.api_keys import Scope


def system_routes(overview: Overview, access: Access, settings: IngestSettings) -> APIRouter:
    """Return the route `GET /system`."""
    routes = APIRouter()

    @routes.get(
        "/system",
        responses=problems(401, 403, 421, 429, 503),
        dependencies=[Depends(access.needs(Scope.READ_ALL, Scope.OPERATE))],
        summary="State of the system, as this node knows it",
    )
    async def get_system() -> System:
        """Return how many submissions wait and run, on which workers, and what the last minute was like."""
        if (system := await overview.current()) is not None:
            return system
        headers = {"Retry-After": str(settings.retry_after_s)}
        raise ProblemError(503, "unavailable", "the stores are still being read", headers=headers)

    return routes
