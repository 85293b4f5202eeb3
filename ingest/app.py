"""Ingest: HTTP in front of the log.

consumes  `submissions.store`, `package-sets`, `dependencies.store` (as views); `submissions.events`
does      takes requests; tells of submissions, dependencies and packages
produces  Requested, Cancelled on `submissions.events`
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi_offline import FastAPIOffline

from ingest import problems
from ingest.environments import router
from ingest.openapi import document_request
from ingest.problems import ProblemError
from ingest.readiness import Readiness
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from ingest.tracing import trace_context
from nix.settings import NixSettings
from topics.catalogue import Catalogue
from topics.schemas import asyncapi
from topics.settings import KafkaSettings
from topics.submissions.state import Answer, Submission
from topics.view import View

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The submission's id.")]

_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SubmissionRequest"}}},
    }
}


def make_app(
    kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, nix: NixSettings, instance: str
) -> FastAPI:
    """The application; it starts to read the stores when the server starts it."""
    submissions = Submissions(kafka, catalogue, settings, instance)
    directory = kafka.data_dir / "views" / f"ingest-{instance}-environments"
    environments = View(kafka, catalogue.dependencies.store.name, directory)
    readiness = Readiness(kafka, catalogue, submissions, environments)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await submissions.start()
        await environments.start()
        yield
        await environments.close()
        await submissions.close()

    app: FastAPI = FastAPIOffline(
        title="Envicutor",
        description="Runs programs that bring their own dependencies.",
        lifespan=lifespan,
        openapi_url="/openapi.json",
    )
    problems.install(app)

    @app.post(
        "/submissions",
        status_code=202,
        openapi_extra=_REQUEST_BODY,
        summary="Submit a program",
        response_model=Answer,
        responses={200: {"model": Answer, "description": "The answer (with `wait`)."}},
    )
    async def post_submission(
        request: Request,
        wait: Annotated[bool, Query(description="Answer when it is finished.")] = False,
        wait_timeout_s: Annotated[
            float, Query(gt=0, le=settings.wait_timeout_max_s, description="How long, in seconds.")
        ] = 30.0,
    ) -> Response:
        _check_media_type(request)
        body, beside = await _body(request, kafka.request_bytes), trace_context(request.headers)
        submission = await submissions.accept(body, wait_for_end=wait, beside=beside)
        if wait:
            submission = await submissions.wait_final(submission.id, wait_timeout_s)
        status = 200 if wait and submission.final else 202
        return _answer(submission, status, {"Location": f"/submissions/{submission.id}"})

    @app.get("/submissions/{id}", response_model=Answer, summary="A submission as it is now")
    async def get_submission(id: Id) -> Response:
        return _answer(submissions.get(id))

    @app.delete("/submissions/{id}", response_model=Answer, summary="Cancel a submission")
    async def delete_submission(id: Id) -> Response:
        return _answer(await submissions.cancel(id))

    app.include_router(router(environments, submissions.package_sets, nix, settings))

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

    document_request(app)
    return app


def serve(
    kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, nix: NixSettings, instance: str
) -> None:
    """Serve HTTP until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        make_app(kafka, catalogue, settings, nix, instance),
        host=settings.http_host,
        port=settings.http_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=3,
        backlog=4096,
    )
    uvicorn.Server(config).run()


async def _body(request: Request, request_bytes: int) -> bytes:
    """The body, read no further than one byte past what is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > request_bytes:
            break  # what is said about it does not need the rest
    return bytes(body)


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(
            415, "unsupported-media-type", f"the body must be application/json, not {media_type!r}"
        )


def _answer(submission: Submission, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(submission.answer(), status, headers, "application/json")
