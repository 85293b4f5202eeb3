"""Worker: runs submissions.

consumes  `submissions.queue` (consumer group), `submissions.stops`, `dependencies.store` (as a view)
does      obtains the dependencies in the Cache, compiles and runs in the sandbox
produces  Started, DependenciesInstalled, Compiled, Finished, HandedBack; leases; live output; requests for
          dependencies, and Lost or Evicted about them
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nix.cache import Cache
from nix.errors import EnvironmentNotFoundError
from processors.queue.attempts import FLUSH_S, Attempt, Attempts, WorkerIdentity, process_name
from processors.queue.slots import Slots
from processors.queue.stops import StopOrders
from processors.sandbox import BoxTooSmallError, Rootfs, Sandboxes
from processors.settings import WorkSettings
from processors.worker.compile_cache import CompileCache
from processors.worker.environment_client import EnvironmentClient
from processors.worker.execute import Executed, execute
from processors.worker.live_output import LiveOutputPublisher
from topics.catalogue import Catalogue
from topics.dependencies.state import EnvironmentState
from topics.kafka.clients import EventProducer
from topics.kafka.waiting import topics_of, until_topics
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Compiled, DependenciesInstalled, Finished, HandedBack, Started
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome, RunStage
from topics.submissions.state import Work
from topics.views.view import View


class Worker:
    """One process of the consumer group; the `Craft` of its attempts."""

    def __init__(
        self,
        kafka: KafkaSettings,
        catalogue: Catalogue,
        settings: WorkSettings,
        sandboxes: Sandboxes,
        cache: Cache,
    ) -> None:
        self._kafka, self._catalogue = kafka, catalogue
        self._answer_bytes = kafka.answer_bytes
        self._sandboxes, self._cache = sandboxes, cache
        self._compile_cache = CompileCache(kafka.data_dir / "compiled", settings.compile_cache_bytes)
        self.name = process_name(settings.host, settings.instance)
        source = f"worker/{self.name}"
        self._slots = Slots(settings.worker_slots)
        self._producer = EventProducer(kafka)
        self._live_output = LiveOutputPublisher(kafka, catalogue.output.name, self.name)
        self._attempts = Attempts(
            self,
            Work,
            FACTS,
            WorkerIdentity(
                name=self.name,
                source=source,
                slots=settings.worker_slots,
                max_waiting=settings.waiting_per_worker,
                lease_renewal_s=settings.lease_renewal_s,
                grace_s=settings.grace_s,
                memory_bytes=sandboxes.total_memory_bytes,
            ),
            kafka=kafka,
            catalogue=catalogue,
            family=catalogue.submissions,
            producer=self._producer,
        )
        self._stops = StopOrders(kafka, catalogue.stops.name, self._attempts.cancel)
        self._view = View(
            kafka, catalogue.dependencies.store.name, kafka.data_dir / "views" / f"worker-{settings.instance}"
        )
        self._environments = EnvironmentClient(
            catalogue, self._view, self._producer, cache, host=settings.host, source=source
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
        await self._sandboxes.start()
        try:
            await self._cache.check_programs()
            return not await self._attempts.unless_stopped(self._read()) or await self._attempts.run()
        finally:
            await asyncio.gather(self._stops.close(), self._view.close())
            await self._sandboxes.close()
            self._producer.close(FLUSH_S)
            self._live_output.close()

    async def _read(self) -> None:
        """Read the environments and the stop orders, which must be known before the first attempt."""
        await until_topics(self._kafka, topics_of("worker", self._catalogue), "worker")
        await self._view.start()
        await self._view.wait_caught_up()
        await self._stops.start()

    # -- Craft ----------------------------------------------------------------------------------------

    def started(self, work: Work) -> Started:
        """Return the fact that this worker started the attempt."""
        return Started(attempt=work.attempt, worker=self.name)

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> HandedBack:
        """Return the fact that this worker gives up the attempt, so that another worker retries it."""
        return HandedBack(attempt=work.attempt, worker=self.name, reason=reason, host_fault=host_fault)

    def unrecordable(self, work: Work, reason: str) -> Finished:
        """Return the end of a submission whose result Kafka does not accept."""
        return self._finished(work, Executed("internal_error", None, ()), None, reason)

    def unwanted(self, work: Work) -> bool:
        """Return whether a stop order for this attempt arrived."""
        return self._stops.stopped(work.id, work.attempt)

    async def carry_out(self, attempt: Attempt[Work]) -> None:
        """Obtain the dependencies, compile, run every test case, and conclude the attempt with the result."""
        # Work of an earlier release may follow the older file convention.
        attempt.work = attempt.work.replace(request=attempt.work.request.ordinary())
        if reason := self._too_large(attempt.work):
            await attempt.until_ours()
            refused = Executed("internal_error", None, ())
            attempt.conclude(self._finished(attempt.work, refused, None, reason))
            return
        began = time.monotonic()
        state = self._environments.known(attempt.work.dependencies_id)
        cached = state is not None and state.status == "installed"
        was_lost = False
        while True:
            if state is None or state.status != "installed":
                await attempt.until_ours()
                state = await self._wait_for_dependencies(attempt)
            dependencies = _stage_of(state, cached=cached, wall_time_s=time.monotonic() - began)
            if state.status == "failed":
                await attempt.until_ours()
                outcome: Outcome = "internal_error" if state.fault == "ours" else "dependencies_failed"
                failed = Executed(outcome, None, ())
                attempt.conclude(self._finished(attempt.work, failed, dependencies, state.explanation))
                return
            try:
                await self._execute(attempt, state, dependencies)
            except EnvironmentNotFoundError:
                cached = False
                try:
                    await self._obtain(attempt, state)
                except EnvironmentNotFoundError:
                    if was_lost:  # lost again after a rebuild: a third build would not help
                        raise
                    state, was_lost = None, True
            else:
                return

    def _too_large(self, work: Work) -> str | None:
        """Return which memory limit no worker can hold; None if this worker can hold all of them."""
        here = self._sandboxes.total_memory_bytes
        for name, memory_bytes in work.memory_limits.items():
            if memory_bytes > here:
                return (
                    f"{name} = {memory_bytes}: no worker has more than {self._attempts.most_memory_bytes()}"
                )
        return None

    async def _wait_for_dependencies(self, attempt: Attempt[Work]) -> EnvironmentState:
        with self._waiting(attempt):
            return await self._environments.wait(attempt.work)

    async def _obtain(self, attempt: Attempt[Work], state: EnvironmentState) -> None:
        with self._waiting(attempt):
            await self._environments.obtain(state)

    @contextmanager
    def _waiting(self, attempt: Attempt[Work]) -> Iterator[None]:
        """Hold no slot within the context."""
        attempt.waiting = True
        self._attempts.room_may_have_changed()
        try:
            yield
        finally:
            attempt.waiting = False

    async def _execute(
        self, attempt: Attempt[Work], state: EnvironmentState, dependencies: DependenciesStage
    ) -> None:
        work = attempt.work

        def on_compiled(stage: CompileStage) -> None:
            attempt.say(Compiled(attempt=work.attempt, worker=self.name, compile=stage))

        # Held before the slot is: the environment is not evicted while the attempt waits for a slot.
        with self._environments.mounted(state) as tree:
            async with self._slots.take(alone=work.alone):
                attempt.begun = True
                attempt.say(
                    DependenciesInstalled(attempt=work.attempt, worker=self.name, dependencies=dependencies)
                )
                with self._live_output.of(work.id, work.attempt) as output:
                    try:
                        async with execute(
                            self._sandboxes,
                            self._compile_cache,
                            Rootfs.of_environment(tree),
                            state.variables,
                            work,
                            self._answer_bytes,
                            may_run=attempt.until_ours,
                            on_compiled=on_compiled,
                            output=output,
                        ) as result:
                            output.close()
                            attempt.conclude(self._finished(work, result, dependencies))
                    except BoxTooSmallError as error:
                        attempt.conclude(self._finished(work, _too_small(work, error), dependencies))

    def _finished(
        self,
        work: Work,
        result: Executed,
        dependencies: DependenciesStage | None,
        error: str | None = None,
    ) -> Finished:
        return Finished(
            attempt=work.attempt,
            worker=self.name,
            outcome=result.outcome,
            dependencies=dependencies,
            compile=result.compile,
            run=result.run,
            error=error if result.outcome == "internal_error" else None,
        )


def _stage_of(state: EnvironmentState, *, cached: bool, wall_time_s: float) -> DependenciesStage:
    return DependenciesStage(
        id=state.id,
        cached=cached,
        store_path=state.store_path,
        explanation=state.explanation,
        log=state.log,
        wall_time_s=round(wall_time_s, 6),
    )


def _too_small(work: Work, error: BoxTooSmallError) -> Executed:
    """Return the result if the files do not fit into the box: the first stage exceeds that limit."""
    if work.request.compile:
        return Executed("compile_failed", CompileStage(stderr=str(error), limit_exceeded=error.limit), ())
    cases = work.request.cases
    runs = tuple(
        RunStage(
            stderr=str(error),
            limit_exceeded=error.limit,
            passed=None if case.expected_output is None else False,
        )
        for case in cases
    )
    return Executed("run_failed", None, runs)
