"""CacheBuilder.

consumes  `dependencies.queue` (consumer group), `dependencies.store` (as a view)
does      installs each set of dependencies in the Cache, publishes it to the other hosts, and evicts
          environments when the Cache is over its limit
produces  Started, Installed, Failed, HandedBack, Evicted on `dependencies.events`; leases; steps on
          `dependencies.steps`
"""

import asyncio
import logging
from concurrent.futures import Future

from nix.cache import Cache
from nix.evaluation import MEMORY_BYTES
from processors.build_executor import BuildExecutor
from processors.build_steps import BuildStepPublisher
from processors.build_turns import BuildTurns, evaluation_slots
from processors.evictions import Evictions
from processors.queue.attempts import FLUSH_S, Attempts, WorkerIdentity, process_name
from processors.sandbox import Sandboxes, capabilities
from processors.sandbox.cgroups.share import processors
from processors.settings import WorkSettings
from topics.catalogue import Catalogue
from topics.dependencies.facts import FACTS
from topics.dependencies.state import Build
from topics.disk import DiskWatch
from topics.kafka.clients import EventProducer
from topics.kafka.confluent import ConfluentClients
from topics.kafka.fact_publisher import FactPublisher
from topics.settings import KafkaSettings
from topics.views.view import View

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 60.0
"""Time between two evictions; workers fetch environments too, so that a cache grows without a build."""


class CacheBuilder:
    """One process of the consumer group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: WorkSettings,
        sandboxes: Sandboxes,
        cache: Cache,
        topics: Future[None],
        disk: DiskWatch,
    ) -> None:
        """Prepare a cache builder; `topics` is done once the topics that it needs exist.

        It begins no build while `disk` has a shortage.
        """
        self._sandboxes, self._cache, self._topics = sandboxes, cache, topics
        name = process_name(settings.host, settings.instance)
        source = f"cache-builder/{name}"
        self._producer = EventProducer(kafka)
        self._view = View(
            kafka,
            catalogue.dependencies.store.name,
            kafka.data_dir / "views" / f"cache-builder-{settings.instance}",
        )
        events = FactPublisher(self._producer, catalogue.dependencies.events.name, FACTS, source)
        memory_bytes = sandboxes.total_memory_bytes
        evaluations = evaluation_slots(processors(), memory_bytes, MEMORY_BYTES)
        self._evictions = Evictions(self._view, events, host=settings.host)
        self._attempts = Attempts(
            BuildExecutor(
                name,
                settings,
                cache,
                self._evictions,
                BuildStepPublisher(self._producer, catalogue.steps.name, name),
                BuildTurns(builds=settings.builder_slots, evaluations=evaluations),
                memory_bytes=memory_bytes,
            ),
            Build,
            FACTS,
            WorkerIdentity(
                name=name,
                source=source,
                slots=settings.builder_slots,
                backlog=settings.held_builds,
                lease_renewal_s=settings.lease_renewal_s,
                grace_s=settings.grace_s,
                shortage=disk.shortage,
            ),
            clients=ConfluentClients(kafka),
            catalogue=catalogue,
            family=catalogue.dependencies,
            queue_partitions=catalogue.dependencies.queue.partitions(kafka.profile),
            producer=self._producer,
        )

    def stop(self) -> None:
        """Ask `run` to end what it builds within the grace period, hand the rest back, and return."""
        self._attempts.stop()

    async def run(self) -> bool:
        """Build until stopped; return False if the consumer failed and the process must be started again.

        Raises:
            SandboxError: this host cannot keep builds within their limits; the message names a remedy.
            CacheError: this host cannot evaluate expressions, publish environments or execute their
                programs; the message names a remedy.
        """
        await asyncio.to_thread(capabilities.check, capabilities.FOR_BUILDS)
        await self._sandboxes.start()
        try:
            await self._cache.check_builder()
            await self._cache.check_programs()
            return not await self._attempts.unless_stopped(self._start()) or await self._work()
        finally:
            await self._view.close()
            await self._sandboxes.close()
            self._producer.close(FLUSH_S)

    async def _start(self) -> None:
        await asyncio.wrap_future(self._topics)
        await self._view.start()

    async def _work(self) -> bool:
        keeping_room = asyncio.create_task(self._keep_room())
        try:
            return await self._attempts.run()
        finally:
            keeping_room.cancel()
            await asyncio.wait([keeping_room])

    async def _keep_room(self) -> None:
        while True:
            try:
                await self._cache.make_room(self._evictions.announce)
            except Exception:  # of any kind: the next eviction may succeed
                log.exception("eviction from the cache failed, trying again in %g s", _LOOK_AGAIN_S)
            await asyncio.sleep(_LOOK_AGAIN_S)
