"""One submission at a worker: its environment, its programs, and the facts about both."""

from collections.abc import Callable

from processors.queue.attempt import Attempt
from processors.sandbox import BoxTooSmallError, Rootfs
from processors.worker.environment_client import (
    DependenciesFailedError,
    EnvironmentClient,
    HeldEnvironment,
)
from processors.worker.execute import Executed, ProgramExecutor
from processors.worker.grading import stages_without_box
from processors.worker.job import Job
from processors.worker.live_output import LiveOutputPublisher
from topics.submissions.facts import Compiled, DependenciesInstalled, Finished, HandedBack, Started
from topics.submissions.stage import CompileStage, DependenciesStage, Outcome
from topics.submissions.state import Work


class SubmissionExecutor:
    """The `JobExecutor` of a worker."""

    def __init__(
        self,
        name: str,
        environments: EnvironmentClient,
        programs: ProgramExecutor,
        live_output: LiveOutputPublisher,
        *,
        memory_bytes: int,
        most_memory_bytes: Callable[[], int],
        is_stopped: Callable[[str, int], bool],
    ) -> None:
        """`name` is the worker's process; stages may have up to `memory_bytes` here.

        `most_memory_bytes` returns the largest such number of all workers, `is_stopped` whether a stop order
        for an attempt arrived.
        """
        self._name = name
        self._environments, self._programs, self._live_output = environments, programs, live_output
        self._memory_bytes, self._most_memory_bytes = memory_bytes, most_memory_bytes
        self._is_stopped = is_stopped

    def started(self, work: Work) -> Started:
        """Return the fact that this worker started the attempt."""
        return Started(attempt=work.attempt, worker=self._name)

    def handed_back(self, work: Work, reason: str, *, host_fault: bool) -> HandedBack:
        """Return the fact that this worker gives up the attempt, so that another worker retries it."""
        return HandedBack(attempt=work.attempt, worker=self._name, reason=reason, host_fault=host_fault)

    def unpublishable(self, work: Work, reason: str) -> Finished:
        """Return the end of a submission whose result Kafka does not accept."""
        return self._finished(work, Executed("internal_error", None, (), reason), None)

    def is_cancelled(self, work: Work) -> bool:
        """Return whether a stop order for this attempt arrived."""
        return self._is_stopped(work.id, work.attempt)

    async def execute(self, attempt: Attempt[Work]) -> None:
        """Acquire the environment, compile, run every test case, and complete the attempt."""
        # Work of an earlier release may follow the older file convention.
        attempt.work = work = attempt.work.replace(request=attempt.work.request.ordinary())
        if reason := self._too_large(work):
            await attempt.wait_until_allowed()
            attempt.complete(self._finished(work, Executed("internal_error", None, (), reason), None))
            return
        try:
            # Held before the slot is: the environment is not evicted while the attempt waits for a slot.
            async with self._environments.acquire(attempt) as environment, attempt.slot():
                await self._run_programs(attempt, environment)
        except DependenciesFailedError as error:
            outcome: Outcome = "internal_error" if error.state.fault == "ours" else "dependencies_failed"
            failed = Executed(outcome, None, (), error.state.explanation)
            attempt.complete(self._finished(work, failed, error.stage))

    async def _run_programs(self, attempt: Attempt[Work], environment: HeldEnvironment) -> None:
        work, name, dependencies = attempt.work, self._name, environment.stage

        def on_compiled(stage: CompileStage) -> None:
            attempt.publish(Compiled(attempt=work.attempt, worker=name, compile=stage))

        attempt.publish(DependenciesInstalled(attempt=work.attempt, worker=name, dependencies=dependencies))
        with self._live_output.of(work.id, work.attempt) as output:
            rootfs = Rootfs.of_environment(environment.tree)
            job = Job(work, rootfs, environment.variables, attempt.wait_until_allowed, on_compiled, output)
            try:
                async with self._programs.run(job) as result:
                    output.close()
                    attempt.complete(self._finished(work, result, dependencies))
            except BoxTooSmallError as error:
                attempt.complete(self._finished(work, _too_small(work, error), dependencies))

    def _too_large(self, work: Work) -> str | None:
        """Return which memory limit no worker can hold; None if this worker can hold all of them."""
        for name, memory_bytes in work.memory_limits.items():
            if memory_bytes > self._memory_bytes:
                return f"{name} = {memory_bytes}: no worker has more than {self._most_memory_bytes()}"
        return None

    def _finished(self, work: Work, result: Executed, dependencies: DependenciesStage | None) -> Finished:
        return Finished(
            attempt=work.attempt,
            worker=self._name,
            outcome=result.outcome,
            dependencies=dependencies,
            compile=result.compile,
            run=result.run,
            error=result.error if result.outcome == "internal_error" else None,
        )


def _too_small(work: Work, error: BoxTooSmallError) -> Executed:
    """Return the result if the files do not fit into the box: the first stage exceeds that limit."""
    if work.request.compile:
        return Executed("compile_failed", CompileStage(stderr=str(error), limit_exceeded=error.limit), ())
    runs = stages_without_box(work.request, str(error), error.limit)
    return Executed("run_failed", None, runs)
