"""Worker: runs submissions.

consumes  `submissions.queue` (consumer group), `submissions.stops`, `dependencies.store` (as a view)
does      obtains the dependencies in the Cache, compiles and runs in the sandbox
produces  Started, DependenciesInstalled, Compiled, Finished, HandedBack; leases; live output; requests for
          dependencies, and Lost or Evicted about them
"""

import asyncio
from concurrent.futures import Future

from nix.cache import Cache
from processors.queue.attempts import FLUSH_S, Attempts, WorkerIdentity, process_name
from processors.queue.stops import StopOrders
from processors.sandbox import Sandboxes
from processors.settings import WorkSettings
from processors.worker.compile_cache import CompileCache
from processors.worker.environment_client import EnvironmentClient
from processors.worker.execute import ProgramExecutor
from processors.worker.executor import SubmissionExecutor
from processors.worker.live_output import LiveOutputPublisher
from topics.catalogue import Catalogue
from topics.dependencies.facts import FACTS as DEPENDENCIES_FACTS
from topics.disk import DiskWatch
from topics.kafka.clients import EventProducer
from topics.kafka.confluent import ConfluentClients
from topics.kafka.fact_publisher import FactPublisher
from topics.leases import PreparedCounts
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS
from topics.submissions.state import Work
from topics.views.view import View


class Worker:
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
        """Prepare a worker; `topics` is done once the topics that it needs exist.

        It begins no work while `disk` has a shortage.
        """
        self._sandboxes, self._cache, self._topics = sandboxes, cache, topics
        self._slots = settings.worker_slots
        name = process_name(settings.host, settings.instance)
        source = f"worker/{name}"
        clients = ConfluentClients(kafka)
        self._producer = EventProducer(kafka)
        environment_events = FactPublisher(
            self._producer, catalogue.dependencies.events.name, DEPENDENCIES_FACTS, source
        )
        self._live_output = LiveOutputPublisher(kafka, catalogue.output.name, name)
        self._stops = StopOrders(clients, catalogue.stops.name, self._cancel)
        self._view = View(
            kafka, catalogue.dependencies.store.name, kafka.data_dir / "views" / f"worker-{settings.instance}"
        )
        compile_cache = CompileCache(kafka.data_dir / "compiled", settings.compile_cache_bytes)
        self.executor = SubmissionExecutor(
            name,
            EnvironmentClient(self._view, environment_events, cache, host=settings.host),
            ProgramExecutor(sandboxes, compile_cache, kafka.answer_bytes),
            self._live_output,
            memory_bytes=sandboxes.total_memory_bytes,
            most_memory_bytes=self._most_memory_bytes,
            is_stopped=self._stops.is_stopped,
        )
        self._attempts = Attempts(
            self.executor,
            Work,
            FACTS,
            WorkerIdentity(
                name=name,
                source=source,
                slots=settings.worker_slots,
                max_waiting=settings.waiting_per_worker,
                lease_renewal_s=settings.lease_renewal_s,
                grace_s=settings.grace_s,
                memory_bytes=sandboxes.total_memory_bytes,
                shortage=disk.shortage,
                prepared=self._prepared,
            ),
            clients=clients,
            catalogue=catalogue,
            family=catalogue.submissions,
            queue_partitions=None,  # ingest dispatches work to free slots, too
            producer=self._producer,
        )

    def stop(self) -> None:
        """Ask `run` to finish what it runs within the grace period, hand the rest back, and return."""
        self._attempts.stop()

    async def run(self) -> bool:
        """Work until stopped; return False if the consumer failed and the process must be started again.

        Raises:
            SandboxError: this host would give wrong answers; the message names a remedy.
            CacheError: this host cannot execute programs of environments; the message names a remedy.
        """
        self._sandboxes.check_slots(self._slots)
        await self._sandboxes.start()
        try:
            await self._cache.check_programs()
            return not await self._attempts.unless_stopped(self._read()) or await self._attempts.run()
        finally:
            await asyncio.gather(self._stops.close(), self._view.close())
            await self._sandboxes.close()
            self._producer.close(FLUSH_S)
            self._live_output.close()

    def _prepared(self) -> PreparedCounts:
        hits, misses = self._sandboxes.prepared_hits
        return PreparedCounts(hits=hits, misses=misses)

    async def _read(self) -> None:
        """Read the environments and the stop orders, which must be known before the first attempt."""
        await asyncio.wrap_future(self._topics)
        await self._view.start()
        await self._view.wait_caught_up()
        await self._stops.start()

    def _cancel(self, id: str, up_to_attempt: int) -> None:
        self._attempts.cancel(id, up_to_attempt)

    def _most_memory_bytes(self) -> int:
        return self._attempts.most_memory_bytes()
