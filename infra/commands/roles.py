"""One subcommand per role: a process of the system. Modules are imported by the role that needs them."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.commands.client import USAGE
from infra.commands.output import fail
from topics.catalogue import catalogue
from topics.settings import KafkaSettings

if TYPE_CHECKING:
    from processors.store.partition import Store

Instance = Annotated[
    str, typer.Option(help="Tells the processes of one role on one host apart, across their restarts.")
]


class Of(StrEnum):
    """Whose leases a health checker judges."""

    SUBMISSIONS = "submissions"
    DEPENDENCIES = "dependencies"


def ingest(instance: Instance = "0") -> None:
    """Serve HTTP."""
    from ingest.app import serve
    from ingest.settings import IngestSettings
    from nix.settings import NixSettings

    kafka = KafkaSettings()
    serve(kafka, catalogue(kafka), IngestSettings(), NixSettings(), instance)


def request_handler(instance: Instance = "0") -> None:
    """Take requests from the topic `submissions.requests`."""
    from processors.request_handler import RequestHandler

    kafka = KafkaSettings()
    handler = RequestHandler(kafka, catalogue(kafka), instance)
    _run(handler.run, handler.stop)


def submission_store(instance: Instance = "0") -> None:
    """Fold `submissions.events` into the store and the queue."""
    from processors.store.submission_store import submission_store as store

    kafka = KafkaSettings()
    _run_store(kafka, store(catalogue(kafka)), instance)


def build_store(instance: Instance = "0") -> None:
    """Fold `dependencies.events` into the store and the queue."""
    from processors.store.build_store import build_store as store

    kafka = KafkaSettings()
    _run_store(kafka, store(catalogue(kafka)), instance)


def worker(instance: Instance = "0") -> None:
    """Run submissions. Needs root."""
    import uvloop

    from nix.cache import Cache
    from nix.settings import NixSettings
    from processors.runner import SandboxRunner
    from processors.sandbox import Sandboxes, SandboxSettings
    from processors.settings import WorkSettings
    from processors.worker.worker import Worker

    kafka = KafkaSettings()
    sandboxes = Sandboxes(SandboxSettings())
    cache = Cache(NixSettings(), SandboxRunner(sandboxes))
    settings = WorkSettings(instance=instance)

    async def run() -> bool:
        process = Worker(kafka, catalogue(kafka), settings, sandboxes, cache)
        _on_signal(process.stop)
        return await process.run()

    with _host_refused():
        ended_well = uvloop.run(run())
    _exit(ended_well)


def cache_builder(instance: Instance = "0") -> None:
    """Install dependencies in the Cache. Needs root."""
    from nix.cache import Cache
    from nix.settings import NixSettings
    from processors.cache_builder import CacheBuilder
    from processors.runner import SandboxRunner
    from processors.sandbox import Sandboxes, SandboxSettings
    from processors.settings import WorkSettings

    kafka = KafkaSettings()
    sandboxes = Sandboxes(SandboxSettings())
    cache = Cache(NixSettings(), SandboxRunner(sandboxes))
    settings = WorkSettings(instance=instance)

    async def run() -> bool:
        process = CacheBuilder(kafka, catalogue(kafka), settings, sandboxes, cache)
        _on_signal(process.stop)
        return await process.run()

    with _host_refused():
        ended_well = asyncio.run(run())
    _exit(ended_well)


def sealer() -> None:
    """Sign what stands on the logs; one process in the whole system."""
    from processors.sealer import Sealer
    from processors.settings import SealerSettings

    kafka = KafkaSettings()
    process = Sealer(kafka, catalogue(kafka), SealerSettings())
    _on_signal_call(process.stop)
    process.run()


def webhook_sender(instance: Instance = "0") -> None:
    """Tell ends of submissions over HTTP, where `ENVICUTOR_WEBHOOK_ALLOW` allows it."""
    from processors.settings import WebhookSettings
    from processors.webhooks.sender import WebhookSender
    from processors.webhooks.signing import SecretError

    kafka = KafkaSettings()

    async def run() -> bool:
        process = WebhookSender(kafka, catalogue(kafka), WebhookSettings(), instance)
        _on_signal(process.stop)
        return await process.run()

    try:
        ended_well = asyncio.run(run())
    except SecretError as error:
        fail(str(error), USAGE)
    _exit(ended_well)


def health_checker(of: Of) -> None:
    """Judge leases: say which attempts nobody works on any more."""
    from processors.health_checker.app import run
    from processors.health_checker.settings import HealthCheckerSettings

    run(KafkaSettings(), HealthCheckerSettings(), of.value)


ROLES = (
    ingest,
    request_handler,
    submission_store,
    build_store,
    worker,
    cache_builder,
    sealer,
    webhook_sender,
    health_checker,
)


def _run(run: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], None]) -> None:
    async def until_stopped() -> None:
        _on_signal(stop)
        await run()

    asyncio.run(until_stopped())


def _run_store(kafka: KafkaSettings, store: "Store", instance: str) -> None:
    from processors.store.processor import StoreProcessor
    from processors.store.transactions import keep_watched
    from processors.store.trimming import keep_trimmed

    processor = StoreProcessor(kafka, store, instance)
    _on_signal_call(processor.stop)
    if kafka.queue == "group":  # how far a share group is the client cannot ask
        keep_trimmed(kafka, store.family)
    keep_watched(kafka, store.family)
    processor.run()


def _on_signal_call(stop: Callable[[], None]) -> None:
    """Of a role without an event loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def _on_signal(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


@contextmanager
def _host_refused() -> Iterator[None]:
    """If the role would give wrong answers on this host, say why and end with exit code 1."""
    from nix.errors import CacheError
    from processors.sandbox import SandboxError

    try:
        yield
    except (SandboxError, CacheError) as error:
        fail(f"this host cannot do the work: {error}", 1)


def _exit(ended_well: bool) -> None:
    logging.shutdown()
    raise typer.Exit(0 if ended_well else 1)
