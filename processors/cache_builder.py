"""CacheBuilder.

consumes  `dependencies.queue` (consumer group)
does      installs each set of dependencies in the Cache
produces  Started, Installed, Failed, HandedBack on `dependencies.events`; leases
"""

import asyncio
import logging
import time
import uuid
from concurrent.futures import Future

from confluent_kafka import Message

from nix.cache import BuildLimits, Cache
from nix.dependencies import from_json
from nix.errors import DependenciesError
from processors.sandbox import Sandboxes
from processors.settings import WorkSettings
from processors.work.leases import LeaseKeeper
from processors.work.popper import Popper
from topics.catalogue import Catalogue
from topics.clients import EventProducer
from topics.codec import encode_fact
from topics.dependencies.facts import FACTS, DependenciesFact, Failed, HandedBack, Installed, Started
from topics.dependencies.state import Build
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)

GROUP = "cache-builders"
_LOG_CHARACTERS = 8192
"""How much of a failed build's log an explanation carries: its end."""


class CacheBuilder:
    """One process of the consumer group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: WorkSettings,
        sandboxes: Sandboxes,
        cache: Cache,
    ) -> None:
        self._kafka, self._catalogue, self._settings = kafka, catalogue, settings
        self._sandboxes, self._cache = sandboxes, cache
        self.name = f"{settings.host}-{uuid.uuid4().hex[:12]}"
        self._tasks: dict[tuple[str, int], asyncio.Task[None] | None] = {}
        self._stop = asyncio.Event()
        self._died = False
        self._producer = EventProducer(kafka)
        self._leases = LeaseKeeper(
            self._producer, catalogue.dependencies.leases.name, self.name, settings.lease_renewal_s
        )

    def stop(self) -> None:
        """Ask `run` to end what it builds within the grace period, hand the rest back, and return."""
        self._stop.set()

    async def run(self) -> bool:
        """Build until stopped; False where the consumer died and the process must be started again."""
        self._loop = asyncio.get_running_loop()
        await self._sandboxes.start()
        self._popper = Popper(
            self._kafka,
            queue=self._catalogue.dependencies.queue.name,
            dead_letters=self._catalogue.dead_letters.name,
            group=GROUP,
            model=Build,
            owner=self,
            producer=self._producer,
            on_death=self._on_death,
        )
        renewing = asyncio.create_task(self._leases.keep())
        self._popper.start()
        log.info("cache builder %s builds up to %d at a time", self.name, self._settings.builder_slots)
        await self._stop.wait()
        await asyncio.to_thread(self._popper.stop)
        await self._drain()
        renewing.cancel()
        await self._sandboxes.close()
        self._producer.close()
        return not self._died

    # -- the popper's owner; called from its thread -------------------------------------------------

    def room(self) -> int:
        """Free slots."""
        return self._settings.builder_slots - len(self._tasks)

    def begin(self, work: Build) -> "list[Future[Message]]":
        """Say Started and take the lease."""
        self._tasks.setdefault((work.id, work.attempt), None)
        started = self._say(work.id, Started(attempt=work.attempt, builder=self.name))
        return [started, self._leases.take(work.id, work.attempt)]

    def deliver(self, work: Build) -> None:
        """Build it."""
        self._loop.call_soon_threadsafe(self._launch, work)

    def _on_death(self) -> None:
        self._died = True
        self._loop.call_soon_threadsafe(self._stop.set)

    # -- one attempt ----------------------------------------------------------------------------------

    def _launch(self, work: Build) -> None:
        key = (work.id, work.attempt)
        if key not in self._tasks:  # delivered twice, and answered in between
            self._leases.release(*key)
        elif self._tasks[key] is None:  # else delivered twice, and we are at it
            self._tasks[key] = asyncio.create_task(self._attempt(work))

    async def _attempt(self, work: Build) -> None:
        try:
            fact = await self._built(work)
        except asyncio.CancelledError:
            fact = HandedBack(attempt=work.attempt, builder=self.name, reason="its builder was stopped")
        try:
            await asyncio.wrap_future(self._say(work.id, fact))
        finally:
            self._leases.release(work.id, work.attempt)
            del self._tasks[work.id, work.attempt]
            self._popper.wake()

    async def _built(self, work: Build) -> Installed | Failed | HandedBack:
        started = time.monotonic()
        log.info("building %s: %s", work.id, work.dependencies.model_dump_json(exclude_none=True)[:200])
        try:
            installed = await self._cache.install(
                from_json(work.dependencies.model_dump(exclude_none=True)),
                work.package_set,
                BuildLimits(**work.limits.model_dump()),
                lambda message: log.info("building %s: %s", work.id, message),
            )
        except DependenciesError as error:
            log.info("building %s: failed: %s", work.id, error)
            return self._failed(work, str(error), time.monotonic() - started)
        except Exception as error:  # whatever it is: else the lease is held for ever
            log.exception("building %s: the host is at fault", work.id)
            reason = f"its builder's host is at fault: {error}"
            return HandedBack(attempt=work.attempt, builder=self.name, reason=reason, host_fault=True)
        return Installed(
            attempt=work.attempt,
            builder=self.name,
            host=self._settings.host,
            store_path=installed.store_path,
            variables=installed.variables,
            packages=tuple(installed.packages),
            size_bytes=installed.size_bytes,
            wall_time_s=round(time.monotonic() - started, 3),
        )

    def _failed(self, work: Build, explanation: str, wall_time_s: float) -> Failed:
        return Failed(
            attempt=work.attempt,
            builder=self.name,
            fault="theirs",
            explanation=explanation[-_LOG_CHARACTERS:],
            log="",
            wall_time_s=round(wall_time_s, 3),
            expires_s=self._settings.failure_expires_s,
        )

    async def _drain(self) -> None:
        """Let what is being built finish, within the grace period; hand the rest back."""
        tasks = [task for task in self._tasks.values() if task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _say(self, id: str, fact: DependenciesFact) -> "Future[Message]":
        topic, source = self._catalogue.dependencies.events.name, f"cache-builder/{self.name}"
        return self._producer.produce(encode_fact(topic, id, fact, FACTS, source))
