"""Worker.

consumes  `submissions.queue` (consumer group), `submissions.stops`, `dependencies.store` (as a view)
does      sees that the dependencies are in the Cache, compiles and runs in the sandbox
produces  Started, DependenciesInstalled, Compiled, Finished, HandedBack; leases; requests for dependencies
"""

import asyncio
import logging
import time
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, Message

from nix.cache import Cache
from nix.errors import MissingError
from processors.sandbox import BoxTooSmallError, Rootfs, Sandboxes
from processors.settings import WorkSettings
from processors.work.leases import LeaseKeeper
from processors.work.popper import Popper
from processors.work.slots import Slots
from processors.work.stops import StopOrders
from processors.worker.environments import Environments
from processors.worker.execute import Executed, execute
from topics.catalogue import Catalogue
from topics.clients import EventProducer
from topics.codec import encode_fact
from topics.dependencies.state import EnvironmentState
from topics.settings import KafkaSettings
from topics.stage import DependenciesStage, Outcome, RunStage, Stage
from topics.submissions.facts import (
    FACTS,
    Compiled,
    DependenciesInstalled,
    Finished,
    HandedBack,
    Started,
    SubmissionFact,
)
from topics.submissions.state import Work
from topics.view import View

log = logging.getLogger(__name__)

GROUP = "workers"


@dataclass(slots=True)
class Job:
    """One attempt at this worker."""

    work: Work
    waiting: bool = False
    """For its dependencies: takes no slot, and leaves room to pop another."""
    dependencies: DependenciesStage | None = None
    compiled: Stage | None = None
    task: "asyncio.Task[None] | None" = field(default=None)


class Worker:
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
        self._jobs: dict[tuple[str, int], Job] = {}
        self._stop = asyncio.Event()
        self._died = False
        self._slots = Slots(settings.worker_slots)
        self._producer = EventProducer(kafka)
        self._view = View(
            kafka, catalogue.dependencies.store.name, kafka.data_dir / "views" / f"worker-{settings.instance}"
        )
        self._leases = LeaseKeeper(
            self._producer, catalogue.submissions.leases.name, self.name, settings.lease_renewal_s
        )
        self._stops = StopOrders(kafka, catalogue.stops.name, self._on_stop_order)
        self._environments = Environments(
            catalogue,
            self._view,
            self._producer,
            cache,
            host=settings.host,
            source=self._source,
        )

    @property
    def _source(self) -> str:
        return f"worker/{self.name}"

    def stop(self) -> None:
        """Ask `run` to finish what it runs within the grace period, hand the rest back, and return."""
        self._stop.set()

    async def run(self) -> bool:
        """Work until stopped; False where the consumer died and the process must be started again."""
        self._loop = asyncio.get_running_loop()
        await self._sandboxes.start()
        await self._view.start()
        await self._view.wait_caught_up()
        await self._stops.start()
        popper = Popper(
            self._kafka,
            queue=self._catalogue.submissions.queue.name,
            dead_letters=self._catalogue.dead_letters.name,
            group=GROUP,
            model=Work,
            owner=self,
            producer=self._producer,
            on_death=self._on_death,
        )
        self._popper = popper
        renewing = asyncio.create_task(self._leases.keep())
        popper.start()
        log.info("worker %s takes up to %d submissions at a time", self.name, self._settings.worker_slots)
        await self._stop.wait()
        await asyncio.to_thread(popper.stop)
        await self._drain()
        renewing.cancel()
        await self._stops.close()
        await self._view.close()
        await self._sandboxes.close()
        self._producer.close()
        return not self._died

    # -- the popper's owner; called from its thread -------------------------------------------------

    def room(self) -> int:
        """Free slots, as long as not too many wait for their dependencies."""
        waiting = sum(job.waiting for job in tuple(self._jobs.values()))
        if waiting >= self._settings.waiting_per_worker:
            return 0
        return self._settings.worker_slots - (len(self._jobs) - waiting)

    def begin(self, work: Work) -> "list[Future[Message]]":
        """Say Started and take the lease."""
        self._jobs.setdefault((work.id, work.attempt), Job(work))
        started = self._say(work.id, Started(attempt=work.attempt, worker=self.name))
        return [started, self._leases.take(work.id, work.attempt)]

    def deliver(self, work: Work) -> None:
        """Run it."""
        self._loop.call_soon_threadsafe(self._launch, work)

    def _on_death(self) -> None:
        self._died = True
        self._loop.call_soon_threadsafe(self._stop.set)

    # -- one attempt ----------------------------------------------------------------------------------

    def _launch(self, work: Work) -> None:
        job = self._jobs.get((work.id, work.attempt))
        if job is None:  # delivered twice, and answered in between
            self._leases.release(work.id, work.attempt)
        elif job.task is None:  # else delivered twice, and we are at it
            job.task = asyncio.create_task(self._attempt(job))

    async def _attempt(self, job: Job) -> None:
        work = job.work
        try:
            if not self._stops.stopped(work.id, work.attempt):
                await self._say_for_sure(work.id, await self._outcome(job))
        except asyncio.CancelledError:
            # A stop order: the fold has moved on and wants nothing more. Else we stop: hand it back.
            if not self._stops.stopped(work.id, work.attempt):
                await self._say_for_sure(work.id, self._handed_back(work, "its worker was stopped"))
        finally:
            self._leases.release(work.id, work.attempt)
            del self._jobs[work.id, work.attempt]
            self._popper.wake()

    async def _outcome(self, job: Job) -> Finished | HandedBack:
        try:
            return await self._run(job)
        except Exception as error:  # whatever it is: no lease is released without an answer (rule 4)
            log.exception("submission %s attempt %d: the host is at fault", job.work.id, job.work.attempt)
            return self._handed_back(job.work, f"its worker's host is at fault: {error}", host_fault=True)

    async def _run(self, job: Job) -> Finished:
        work, started = job.work, time.monotonic()
        state = self._environments.known(work.dependencies_id)
        cached = state is not None and state.status == "installed"
        while True:
            if state is None or state.status != "installed":
                state = await self._wait_for_dependencies(job)
            job.dependencies = DependenciesStage(
                id=state.id,
                cached=cached,
                store_path=state.store_path,
                explanation=state.explanation,
                log=state.log,
                wall_time_s=round(time.monotonic() - started, 6),
            )
            if state.status == "failed":
                outcome: Outcome = "internal_error" if state.fault == "ours" else "dependencies_failed"
                return self._finished(job, Executed(outcome, None, ()), error=state.explanation)
            try:
                return await self._run_mounted(job, state)
            except MissingError:
                await self._environments.lost(state)
                state, cached = None, False

    async def _wait_for_dependencies(self, job: Job) -> EnvironmentState:
        job.waiting = True
        self._popper.wake()
        try:
            return await self._environments.wait(job.work)
        finally:
            job.waiting = False

    async def _run_mounted(self, job: Job, state: EnvironmentState) -> Finished:
        work = job.work
        async with self._slots.take(alone=work.alone):
            with self._environments.mounted(state) as tree:
                assert job.dependencies
                self._say(
                    work.id,
                    DependenciesInstalled(
                        attempt=work.attempt, worker=self.name, dependencies=job.dependencies
                    ),
                )

                def on_compiled(stage: Stage) -> None:
                    self._say(work.id, Compiled(attempt=work.attempt, worker=self.name, compile=stage))

                try:
                    executed = await execute(
                        self._sandboxes,
                        Rootfs.of_environment(tree),
                        state.variables,
                        work.request,
                        self._kafka.answer_bytes,
                        on_compiled,
                    )
                except BoxTooSmallError as error:
                    executed = _too_small(work, error)
                return self._finished(job, executed)

    def _finished(self, job: Job, executed: Executed, error: str | None = None) -> Finished:
        return Finished(
            attempt=job.work.attempt,
            worker=self.name,
            outcome=executed.outcome,
            dependencies=job.dependencies,
            compile=executed.compile,
            run=executed.run,
            error=error if executed.outcome == "internal_error" else None,
        )

    def _handed_back(self, work: Work, reason: str, *, host_fault: bool = False) -> HandedBack:
        return HandedBack(attempt=work.attempt, worker=self.name, reason=reason, host_fault=host_fault)

    # -- stopping --------------------------------------------------------------------------------------

    def _on_stop_order(self, id: str, attempt: int) -> None:
        for (held, held_attempt), job in tuple(self._jobs.items()):
            if held == id and held_attempt <= attempt and job.task is not None:
                job.task.cancel()

    async def _drain(self) -> None:
        """Let what runs finish, within the grace period; hand the rest back at once."""
        for job in tuple(self._jobs.values()):
            if job.waiting and job.task:
                job.task.cancel()
        tasks = [job.task for job in self._jobs.values() if job.task]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._settings.grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    # -- the log -----------------------------------------------------------------------------------------

    def _say(self, id: str, fact: SubmissionFact) -> "Future[Message]":
        record = encode_fact(self._catalogue.submissions.events.name, id, fact, FACTS, self._source)
        return self._producer.produce(record)

    async def _say_for_sure(self, id: str, fact: Finished | HandedBack) -> None:
        """Return once the broker has it; what it can never have becomes an internal error."""
        try:
            await asyncio.wrap_future(self._say(id, fact))
        except KafkaException as error:
            log.exception("submission %s: its result cannot be produced", id)
            given_up = Finished(
                attempt=fact.attempt,
                worker=self.name,
                outcome="internal_error",
                dependencies=None,
                compile=None,
                run=(),
                error=f"the result could not be recorded: {error}",
            )
            await asyncio.wrap_future(self._say(id, given_up))


def _too_small(work: Work, error: BoxTooSmallError) -> Executed:
    """The files do not fit into the box: the first stage fails for that limit."""
    if work.request.compiler:
        return Executed("compile_failed", Stage(stderr=str(error), limit_exceeded=error.limit), ())
    return Executed("run_failed", None, (RunStage(stderr=str(error), limit_exceeded=error.limit),))
