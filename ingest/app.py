"""Ingest: HTTP in front of the log.

consumes  `submissions.store`, `package-sets`, `dependencies.store` (as views);
          `submissions.events`, `submissions.output` (as journals)
produces  Requested, Cancelled on `submissions.events`
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from ingest import problems
from ingest.events import Events
from ingest.openapi import document_models
from ingest.problems import ProblemError
from ingest.readiness import Readiness
from ingest.routes import submission_routes
from ingest.server import Server
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from topics.catalogue import Catalogue
from topics.journal import Journal
from topics.schemas import asyncapi
from topics.settings import KafkaSettings


def make_app(kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, instance: str) -> FastAPI:
    """The application; it starts to read the stores when the server starts it."""
    submissions = Submissions(kafka, catalogue, settings, instance)
    output = Journal(
        kafka,
        catalogue.output.name,
        kafka.data_dir / "views" / f"ingest-{instance}-output",
        kept_s=catalogue.output.retention_ms // 1000,
    )
    events = Events(submissions.history, output, submissions.view)
    readiness = Readiness(kafka, catalogue, submissions, instance)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await submissions.start()
        await output.start()
        await readiness.start()
        yield
        await readiness.close()
        await output.close()
        await submissions.close()

    app: FastAPI = FastAPIOffline(
        title="Envicutor",
        description="Runs programs that bring their own dependencies.",
        lifespan=lifespan,
        openapi_url="/openapi.json",
    )
    problems.install(app)

    app.include_router(submission_routes(submissions, events, settings, kafka.request_bytes))

    @app.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", summary="Whether a submission can run now")
    async def ready() -> dict[str, str]:
        if missing := await readiness.missing():
            raise ProblemError(
                503,
                "not-ready",
                f"not ready: {missing}",
                headers={"Retry-After": str(settings.retry_after_s)},
            )
        return {"status": "ready"}

    contract = asyncapi(kafka, catalogue)

    @app.get("/asyncapi.json", summary="The contract of Kafka's topics, as AsyncAPI 3")
    async def get_asyncapi() -> dict[str, Any]:
        return contract

    document_models(app)
    app.state.events = events
    return app


def serve(kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, instance: str) -> None:
    """Serve HTTP until SIGTERM or SIGINT."""
    Server(make_app(kafka, catalogue, settings, instance), settings).run()
