"""Subcommands that run one role each, as a process of the system. A role imports only modules that it needs.

Every role asks for its topics before it imports the rest. It therefore logs missing topics within a second.
Those that have something to do meanwhile, such as checks of the host, ask in a thread.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from infra import role_process
from infra.accounts import keep_private
from infra.commands.options import AggregateName
from infra.commands.output import USAGE, fail
from infra.role_process import DEADLINE_S, RoleProcess
from topics.catalogue import catalogue
from topics.kafka.waiting import topics_in_background, topics_of, wait_for_topics
from topics.process import tune_gc
from topics.settings import KafkaSettings
from topics.topic import Role

if TYPE_CHECKING:
    from processors.cache_builder import CacheBuilder
    from processors.store.on_kafka import StoreOnKafka
    from processors.store.partition import StoreDefinition
    from processors.worker.worker import Worker

log = logging.getLogger(__name__)

Instance = Annotated[
    str, typer.Option(help="Name that identifies this process among those of its role on this host.")
]
_WITH_SANDBOXES: tuple[Role, ...] = ("worker", "cache-builder")
_AFTER_GRACE_S = 3.0
"""Time after the grace period of running work, for giving up attempts, flushing and leaving the groups."""


def ingest(instance: Instance = "0") -> None:
    """Serve HTTP, even while topics are missing, since states that were read before can be served."""
    process, kafka = _begin("ingest")
    _topics_in_background("ingest", kafka, process)
    from ingest.app import serve
    from ingest.settings import IngestSettings
    from nix.settings import NixSettings

    serve(
        kafka,
        catalogue(kafka),
        IngestSettings(),
        NixSettings(),
        instance,
        on_serving=process.on_stop_in_loop,
    )
    process.end(0)


def request_handler(instance: Instance = "0") -> None:
    """Consume requests from the topic `submissions.requests`, and accept or reject them."""
    process, kafka = _begin_with_topics("request-handler")
    from nix.registries.latest import LatestVersions
    from nix.settings import NixSettings
    from processors.request_handler import RequestHandler

    handler = RequestHandler(kafka, catalogue(kafka), instance, LatestVersions(NixSettings()))

    async def run() -> bool:
        process.on_stop_in_loop(handler.stop)
        await handler.run()
        return True

    _end(process, run)


def submission_store(instance: Instance = "0") -> None:
    """Fold `submissions.events` into the store and the queue."""
    process, kafka = _begin_with_topics("submission-store")
    from processors.store.submission_store import submission_store as store

    _run_store(process, kafka, store(catalogue(kafka)), instance)


def build_store(instance: Instance = "0") -> None:
    """Fold `dependencies.events` into the store and the queue."""
    process, kafka = _begin_with_topics("build-store")
    from processors.store.build_store import build_store as store

    _run_store(process, kafka, store(catalogue(kafka)), instance)


def worker(instance: Instance = "0") -> None:
    """Run submissions. Needs root."""
    process, kafka = _begin("worker")
    topics = _topics_in_background("worker", kafka, process)
    import uvloop

    from processors.worker.worker import Worker

    _run_with_cache(process, kafka, topics, Worker, instance, uvloop.run)


def cache_builder(instance: Instance = "0") -> None:
    """Build environments, and install them in the Cache. Needs root."""
    process, kafka = _begin("cache-builder")
    topics = _topics_in_background("cache-builder", kafka, process)
    from processors.cache_builder import CacheBuilder

    _run_with_cache(process, kafka, topics, CacheBuilder, instance)


def sealer() -> None:
    """Sign the events on the logs. Only one sealer may run in a system."""
    process, kafka = _begin_with_topics("sealer")
    from processors.sealer import Sealer
    from processors.settings import SealerSettings

    sealer = Sealer(kafka, catalogue(kafka), SealerSettings())
    process.on_stop(sealer.stop)
    _end_thread(process, sealer.run)


def webhook_sender(instance: Instance = "0") -> None:
    """Send webhooks when submissions end, to addresses that `ENVICUTOR_WEBHOOK_ALLOW` permits."""
    process, kafka = _begin_with_topics("webhook-sender")
    from processors.settings import WebhookSettings
    from processors.webhooks.sender import WebhookSender
    from processors.webhooks.signing import SecretError

    async def run() -> bool:
        sender = WebhookSender(kafka, catalogue(kafka), WebhookSettings(), instance)
        process.on_stop_in_loop(sender.stop)
        return await sender.run()

    try:
        _end(process, run)
    except SecretError as error:
        fail(str(error), USAGE)


def health_checker(
    aggregates: Annotated[list[AggregateName], typer.Argument(help="Aggregates whose leases are monitored.")],
) -> None:
    """Monitor leases, and publish the expiry of those that no worker renews."""
    names = [aggregate.value for aggregate in aggregates]
    process, kafka = _begin_with_topics("health-checker", *names)
    from processors.health_checker.app import run
    from processors.health_checker.settings import HealthCheckerSettings

    process.on_stop(lambda: None)  # Faust handles the signal itself
    try:
        run(kafka, HealthCheckerSettings(), names, on_signal=process.handle)
    except SystemExit as ended:
        process.end(ended.code if isinstance(ended.code, int) else 0)


def _begin(role: Role, *arguments: str) -> tuple[RoleProcess, KafkaSettings]:
    """Begin a role's process, which keeps its files from other accounts."""
    process, kafka = role_process.begin(" ".join([role, *arguments])), KafkaSettings()
    keep_private(kafka.data_dir, programs_of_others=role in _WITH_SANDBOXES)
    return process, kafka


def _begin_with_topics(role: Role, *arguments: str) -> tuple[RoleProcess, KafkaSettings]:
    """Begin a role's process, and return once the broker and the role's topics exist."""
    process, kafka = _begin(role, *arguments)
    wait_for_topics(kafka, topics_of(role, catalogue(kafka)), process.name)
    return process, kafka


def _topics_in_background(role: Role, kafka: KafkaSettings, process: RoleProcess) -> Future[None]:
    return topics_in_background(kafka, topics_of(role, catalogue(kafka)), process.name)


def _run_store(
    process: RoleProcess, kafka: KafkaSettings, store: "StoreDefinition", instance: str
) -> NoReturn:
    from processors.store.on_kafka import StoreOnKafka
    from processors.store.transactions import keep_watched
    from processors.store.trimming import keep_trimmed

    keep_trimmed(kafka, store.aggregate.family)
    keep_watched(kafka, store.aggregate.family)
    _end(process, lambda: _fold(process, lambda: StoreOnKafka(kafka, store, instance)))


async def _fold(process: RoleProcess, make_processor: Callable[[], "StoreOnKafka"]) -> bool:
    """Run a store processor; return whether it ended well."""
    try:
        processor = make_processor()
        process.on_stop_in_loop(processor.stop)
        tune_gc()
        await processor.run()
    except Exception:
        # Not raised: the interpreter would wait for threads of clients that may hang.
        log.critical("%s: ended by an exception", process.name, exc_info=True)
        return False
    return True


def _end(
    process: RoleProcess,
    run: Callable[[], Coroutine[Any, Any, bool]],
    runner: Callable[[Coroutine[Any, Any, bool]], bool] = asyncio.run,
) -> NoReturn:
    """Run a role in an event loop until it ends, and end the process."""
    ended_well = runner(run())
    process.end(0 if ended_well else 1)


def _run_with_cache(
    process: RoleProcess,
    kafka: KafkaSettings,
    topics: Future[None],
    make: "type[Worker] | type[CacheBuilder]",
    instance: str,
    runner: Callable[[Coroutine[Any, Any, bool]], bool] = asyncio.run,
) -> NoReturn:
    """Run a role that uses sandboxes and the Cache, and end the process.

    If this host cannot run it correctly, log why and end with 1.
    """
    from nix.cache import Cache
    from nix.errors import CacheError
    from nix.settings import NixSettings
    from processors.runner import SandboxRunner
    from processors.sandbox import SandboxError, Sandboxes, SandboxSettings
    from processors.settings import WorkSettings
    from topics.disk import DiskSettings, DiskWatch

    settings = WorkSettings(instance=instance)
    sandbox_settings, nix = SandboxSettings(), NixSettings()
    sandboxes = Sandboxes(sandbox_settings)
    cache = Cache(nix, SandboxRunner(sandboxes))
    folders = (kafka.data_dir, nix.nix_root, nix.cache_dir)
    disk = DiskWatch.of_role(DiskSettings(), *folders, small=[sandbox_settings.state_dir])

    async def run() -> bool:
        role = make(kafka, catalogue(kafka), settings, sandboxes, cache, topics, disk)
        process.on_stop_in_loop(role.stop, within_s=max(DEADLINE_S, settings.grace_s + _AFTER_GRACE_S))
        return await role.run()

    try:
        _end(process, run, runner)
    except (SandboxError, CacheError) as error:
        log.critical("%s: this host cannot do the work: %s", process.name, error)
        process.end(1)


def _end_thread(process: RoleProcess, run: Callable[[], None]) -> NoReturn:
    """Run a role without an event loop in a thread, and end the process.

    The main thread only waits. Python handles signals in that thread, but not during a call of a client.
    """
    failures: list[BaseException] = []

    def caught() -> None:
        try:
            run()
        except BaseException as error:  # raised again below
            failures.append(error)

    thread = threading.Thread(target=caught, name=process.name, daemon=True)
    thread.start()
    thread.join()
    for failure in failures:
        log.critical("%s: ended by an exception", process.name, exc_info=failure)
    process.end(1 if failures else 0)
