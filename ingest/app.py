"""Ingest: the HTTP interface, which reads local tables and appends events to the log.

consumes  `submissions.events`, `submissions.store` (as the projection); `package-sets`,
          `dependencies.store`, `api-keys` (as views); `submissions.output` (as a journal);
          `dependencies.steps`
produces  Requested, Cancelled on `submissions.events`
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi_offline import FastAPIOffline

from ingest import metrics as measured
from ingest import problems
from ingest.access import Access
from ingest.build_steps import BuildSteps
from ingest.events import EventStreams
from ingest.languages import Languages
from ingest.middleware import REQUEST_ID, HostChecked, Observed, ProxiesRefused
from ingest.openapi import document_models, document_webhooks
from ingest.readiness import Readiness
from ingest.routes import page
from ingest.routes.environments import environment_routes
from ingest.routes.languages import language_routes
from ingest.routes.operations import operation_routes
from ingest.routes.reading import reading_routes
from ingest.routes.submit import submit_routes
from ingest.routes.system import system_routes
from ingest.server import OnServing, Server
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from ingest.system import Overview
from ingest.wait_reasons import WaitReasons
from nix.registries.latest import LatestVersions
from nix.settings import NixSettings
from topics.catalogue import Catalogue
from topics.contract.schemas import CONTRACT_VERSION, asyncapi
from topics.dependencies.state import unfinished_by_owner
from topics.disk import DiskSettings, DiskWatch
from topics.kafka.tail import TailConsumer
from topics.settings import KafkaSettings
from topics.views.journal import Journal
from topics.views.view import View

log = logging.getLogger(__name__)

GZIP_FROM_BYTES = 2048
"""Size from which a response is compressed, if the client accepts gzip."""
GZIP_LEVEL = 4
"""Level of zlib, below its default since compression blocks the event loop."""


_TABLES_OF_BEFORE = ("ingest-{instance}", "ingest-{instance}-history")
"""Local tables of earlier versions, which are removed."""


def make_app(
    kafka: KafkaSettings, catalogue: Catalogue, settings: IngestSettings, nix: NixSettings, instance: str
) -> FastAPI:
    """Return the application, whose consumer starts when the server starts it."""
    tables, consumer = kafka.data_dir / "views", TailConsumer(kafka)
    access = Access(kafka, catalogue, settings, tables / f"ingest-{instance}-keys", consumer)
    metrics = measured.Metrics()
    environments = View(
        kafka,
        catalogue.dependencies.store.name,
        tables / f"ingest-{instance}-environments",
        status_of=unfinished_by_owner,
        consumer=consumer,
    )
    disk = DiskWatch.of_role(DiskSettings(), kafka.data_dir)
    submissions = Submissions(
        kafka,
        catalogue,
        settings,
        instance,
        consumer,
        LatestVersions(nix),
        environments,
        disk,
        on_started=metrics.observe_queue_wait,
    )
    output = Journal(
        kafka,
        catalogue.output.name,
        tables / f"ingest-{instance}-output",
        kept_s=catalogue.output.retention_ms // 1000,
        consumer=consumer,
    )
    steps = BuildSteps(kafka, catalogue.steps.name, consumer)
    waits = WaitReasons(submissions.waiting, environments, steps)
    events = EventStreams(submissions.projection, output, waits, settings.http_streams_per_key)
    readiness = Readiness(kafka, catalogue, submissions, environments, access, disk)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for name in _TABLES_OF_BEFORE:
            await asyncio.to_thread(
                shutil.rmtree, tables / name.format(instance=instance), ignore_errors=True
            )
        await access.start()
        await submissions.start()
        await output.start()
        await environments.start()
        await steps.start()
        yield
        await asyncio.gather(
            *(steps.close(), environments.close(), output.close(), submissions.close(), access.close())
        )

    app: FastAPI = FastAPIOffline(
        title="Envicutor",
        version=CONTRACT_VERSION,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        description="Runs programs that bring their own dependencies.",
        lifespan=lifespan,
        openapi_url="/openapi.json",
    )
    problems.install(app)
    metrics.watch(
        {
            catalogue.submissions.store.name: submissions.projection.store_lag,
            catalogue.submissions.events.name: submissions.projection.events_lag,
        },
        disk_free_bytes=disk.free_bytes,
        disk_short=lambda: disk.shortage() is not None,
        submissions_unfinished=lambda: submissions.projection.all_unfinished,
        submissions_oldest_waiting_seconds=waits.oldest_s,
        http_event_streams=lambda: events.listeners,
        sandboxes_prepared=lambda: submissions.prepared().hits,
        sandboxes_unprepared=lambda: submissions.prepared().misses,
    )
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)
    if settings.refuses_proxies:
        app.add_middleware(ProxiesRefused)
    app.add_middleware(HostChecked, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "Last-Event-ID",
                REQUEST_ID,
            ],
            expose_headers=["ETag", "Location", "Retry-After", REQUEST_ID],
        )
    app.add_middleware(Observed, metrics=metrics)

    app.include_router(submit_routes(submissions, access, settings, kafka.request_bytes))
    app.include_router(reading_routes(submissions, access, events, waits, settings))
    app.include_router(
        environment_routes(environments, steps, submissions.package_sets, access, nix, settings)
    )
    languages = Languages(submissions.package_sets, nix, settings.languages)
    app.include_router(language_routes(languages, access, settings))
    overview = Overview(submissions, waits, environments, readiness.workers)
    app.include_router(system_routes(overview, access, settings))
    app.include_router(operation_routes(readiness, metrics, access, settings, asyncapi(kafka, catalogue)))

    page.install(app)
    document_models(app, kafka.ceilings)
    document_webhooks(app)
    app.state.events = events
    return app


def serve(
    kafka: KafkaSettings,
    catalogue: Catalogue,
    settings: IngestSettings,
    nix: NixSettings,
    instance: str,
    *,
    on_serving: OnServing | None = None,
) -> None:
    """Serve HTTP until SIGTERM or SIGINT, or, with `on_serving`, until its argument is called."""
    if settings.http_open and not settings.http_keys:
        log.warning("ENVICUTOR_HTTP_OPEN is set: all clients of a forwarding proxy can run programs")
    Server(make_app(kafka, catalogue, settings, nix, instance), settings, on_serving).run()
