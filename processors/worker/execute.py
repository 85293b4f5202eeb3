"""One submission in the sandbox: compilation, unless it is cached, then each test case on that box."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from processors.sandbox import Box, Command, OnOutput, Rootfs, Sandboxes, SnapshotError
from processors.worker.compile_cache import CachedCompilation, CompileCache, key_of
from processors.worker.grading import AnswerBudget, outcome_of
from processors.worker.live_output import AttemptOutput
from topics.request.cases import TestCase
from topics.request.limits import RunLimits
from topics.submissions.stage import CompileStage, Outcome, RunStage
from topics.submissions.state import Work

log = logging.getLogger(__name__)


class Executed(NamedTuple):
    """Outcome and stages of a submission."""

    outcome: Outcome
    compile: CompileStage | None
    run: tuple[RunStage, ...]


class Job(NamedTuple):
    """A submission with the environment that its programs run in."""

    work: Work
    rootfs: Rootfs
    variables: Mapping[str, str]
    """Environment variables of the environment, which those of the request override."""
    may_run: Callable[[], Awaitable[None]]
    """Function that waits until programs may start."""
    on_compiled: Callable[[CompileStage], None]
    output: AttemptOutput


class ProgramExecutor:
    """Compilation and test cases in the sandboxes of a worker; answers have at most `answer_bytes`."""

    def __init__(self, sandboxes: Sandboxes, compile_cache: CompileCache, answer_bytes: int) -> None:
        self._sandboxes, self._compile_cache = sandboxes, compile_cache
        self._answer_bytes = answer_bytes

    @asynccontextmanager
    async def run(self, job: Job) -> AsyncIterator[Executed]:
        """Run the programs of a job.

        Boxes and sandboxes are made at once, programs start after `job.may_run`. The result is yielded before
        the compilation is cached and the last box removed, so that the client need not wait for either.

        Raises:
            SandboxError: a sandbox could not be set up; another host may succeed.
            BoxTooSmallError: the files do not fit into the box.
        """
        request, budget = job.work.request, AnswerBudget(self._answer_bytes)
        env = {**job.variables, **request.env}
        key = self._key(job, env)
        first = request.limits.compile if request.compile else request.limits.run
        async with AsyncExitStack() as stack:
            before = await self._compiled_before(stack, key, first) if key else None
            if before:
                box, stage = before
                compiled: CompileStage | None = budget.compiled_before(stage)
            else:
                files = {file.name: file.data() for file in request.files}
                box, compiled = await stack.enter_async_context(self._sandboxes.box(files, first)), None
            if request.compile and not compiled:
                argv = _argv(request.compile, "compile", ())
                command = Command(argv, env, on_output=job.output.listener("compile"), may_start=job.may_run)
                compiled = budget.compile_stage(await box.run(command, job.rootfs, request.limits.compile))
                if not compiled.ok:
                    yield Executed("compile_failed", compiled, ())
                    return
            if compiled:
                job.on_compiled(compiled)
            keep_as = key if compiled and not before else None
            runs = await _run_cases(stack, job, env, budget, box, is_kept=keep_as is not None)
            yield Executed(outcome_of(runs), compiled, tuple(runs))
            if keep_as and compiled:
                await self._keep(keep_as, compiled, box)

    def _key(self, job: Job, env: Mapping[str, str]) -> str | None:
        if not job.work.request.compile or not self._compile_cache.enabled:
            return None
        return key_of(job.work, job.rootfs, env, self._answer_bytes)

    async def _compiled_before(
        self, stack: AsyncExitStack, key: str, limits: RunLimits
    ) -> tuple[Box, CompileStage] | None:
        """Return a box as the same compile stage left it, until `stack` closes; None if none is cached."""
        kept = await asyncio.to_thread(self._compile_cache.get, key)
        if kept is None:
            return None
        async with AsyncExitStack() as tried:
            box = await tried.enter_async_context(self._sandboxes.box({}, limits))
            try:
                await box.restore(kept.box)
            except SnapshotError as error:
                log.warning("the cached compilation cannot be used, compiling again: %s", error)
                await asyncio.to_thread(self._compile_cache.drop, key)
                return None
            stack.push_async_exit(tried.pop_all())
            return box, kept.stage

    async def _keep(self, key: str, stage: CompileStage, box: Box) -> None:
        try:
            content = await box.snapshot()
        except SnapshotError as error:
            log.info("the compilation is not cached: %s", error)
        else:
            await asyncio.to_thread(self._compile_cache.put, key, CachedCompilation(stage, content))


async def _run_cases(
    stack: AsyncExitStack, job: Job, env: Mapping[str, str], budget: AnswerBudget, box: Box, *, is_kept: bool
) -> list[RunStage]:
    """Run each test case on `box` as it is now; with `is_kept` leave it unchanged."""
    limits, cases = job.work.request.limits.run, job.work.request.cases
    case_stack = await stack.enter_async_context(AsyncExitStack())
    runs = []
    for number, case in enumerate(cases):
        await case_stack.aclose()  # the box of the case before
        if is_kept or number < len(cases) - 1:
            place = await case_stack.enter_async_context(box.fork(limits))
        else:  # the box is not needed unchanged any more
            place = box
            place.make_room(limits)
        on_output = job.output.listener("run", number)
        runs.append(await _run_case(place, job, env, case, budget, on_output))
    return runs


async def _run_case(
    box: Box, job: Job, env: Mapping[str, str], case: TestCase, budget: AnswerBudget, on_output: OnOutput
) -> RunStage:
    request = job.work.request
    assert request.run
    argv = _argv(request.run, "run", case.args)
    command = Command(argv, env, case.stdin(request.files), on_output, job.may_run)
    completed = await box.run(command, job.rootfs, request.limits.run)
    cpu_left_s = request.limits.run.cpu_time_s - completed.cpu_time_s
    collected = await box.collect(request.outputs, budget.room_bytes, cpu_left_s)
    return budget.run_stage(completed, case, collected)


def _argv(program: str | tuple[str, ...], name: str, args: Sequence[str]) -> list[str]:
    """Return the command of a program: bash for a script, with `args` as `"$@"`; else argv and `args`."""
    if isinstance(program, str):
        return ["/bin/bash", "-c", program, name, *args]
    return [*program, *args]
