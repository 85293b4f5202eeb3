"""Routes for operators of the system: liveness, readiness, metrics, and the contract of the topics."""

from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse

from ingest import metrics as measured
from ingest.access import Access
from ingest.openapi import problems
from ingest.problems import ProblemError
from ingest.readiness import Readiness
from ingest.settings import IngestSettings
from topics.security.api_keys import Scope


def operation_routes(
    readiness: Readiness,
    metrics: measured.Metrics,
    access: Access,
    settings: IngestSettings,
    contract: dict[str, Any],
) -> APIRouter:
    """Return the routes; `contract` is the AsyncAPI document of the topics."""
    router = APIRouter()

    @router.get("/health", responses=problems(421), summary="Liveness of the process")
    async def health() -> dict[str, str]:
        """Answer as long as the process lives; it needs neither Kafka nor an API key."""
        return {"status": "ok"}

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=problems(401, 403, 421, 429, 503),
        dependencies=[Depends(access.needs(Scope.OPERATE))],
        summary="Metrics of this node, for Prometheus",
    )
    async def get_metrics() -> Response:
        """Return the metrics of this node in the format of Prometheus; docs/http.md lists them."""
        return Response(await metrics.text(), headers={"Content-Type": measured.CONTENT_TYPE})

    @router.get("/ready", responses=problems(421, 503), summary="Readiness of the system to run a submission")
    async def ready() -> dict[str, str]:
        """Answer 200 if a submission can run: tables are read, and a worker and the base environment are
        there.

        Otherwise the response is a 503 whose `detail` names what is missing.
        """
        if missing := await readiness.missing():
            raise ProblemError(
                503,
                "not-ready",
                f"not ready: {missing}",
                headers={"Retry-After": str(settings.retry_after_s)},
            )
        return {"status": "ready"}

    @router.get("/asyncapi.json", responses=problems(421), summary="Kafka's topics, as AsyncAPI 3")
    async def get_asyncapi() -> dict[str, Any]:
        """Return the contract of Kafka's topics, for systems that use them directly."""
        return contract

    return router
