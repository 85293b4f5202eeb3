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
from topics.request.limits import RunLimits
from topics.request.model import SubmissionRequest, TestCase
from topics.submissions.stage import CompileStage, Outcome, RunStage
from topics.submissions.state import Work

log = logging.getLogger(__name__)


class Executed(NamedTuple):
    """Outcome and stages of a submission."""

    outcome: Outcome
    compile: CompileStage | None
    run: tuple[RunStage, ...]


@asynccontextmanager
async def execute(
    sandboxes: Sandboxes,
    compile_cache: CompileCache,
    rootfs: Rootfs,
    variables: Mapping[str, str],
    work: Work,
    answer_bytes: int,
    *,
    may_run: Callable[[], Awaitable[None]],
    on_compiled: Callable[[CompileStage], None],
    output: AttemptOutput,
) -> AsyncIterator[Executed]:
    """Run `work` on `rootfs`; `variables` are the environment's, overridden by the request's.

    Boxes and sandboxes are made at once, programs start after `may_run`. The result is yielded before the
    compilation is cached and the last box removed, so that the client need not wait for either.

    Raises:
        SandboxError: a sandbox could not be set up; another host may succeed.
        BoxTooSmallError: the files do not fit into the box.
    """
    request, budget = work.request, AnswerBudget(answer_bytes)
    env = {**variables, **request.env}
    key = key_of(work, rootfs, env, answer_bytes) if request.compile and compile_cache.enabled else None
    first = request.limits.compile if request.compile else request.limits.run
    async with AsyncExitStack() as stack:
        before = await _compiled_before(stack, sandboxes, compile_cache, key, first) if key else None
        if before:
            box, stage = before
            compiled: CompileStage | None = budget.compiled_before(stage)
        else:
            files = {file.name: file.data() for file in request.files}
            box, compiled = await stack.enter_async_context(sandboxes.box(files, first)), None
        if request.compile and not compiled:
            argv = _argv(request.compile, "compile", ())
            listener = output.listener("compile")
            command = Command(argv, env, on_output=listener, may_start=may_run)
            compiled = budget.compile_stage(await box.run(command, rootfs, request.limits.compile))
            if not compiled.ok:
                yield Executed("compile_failed", compiled, ())
                return
        if compiled:
            on_compiled(compiled)
        keep_as = key if compiled and not before else None
        case_stack = await stack.enter_async_context(AsyncExitStack())
        runs = []
        for number, case in enumerate(request.cases):
            await case_stack.aclose()  # the box of the case before
            if keep_as or number < len(request.cases) - 1:
                place = await case_stack.enter_async_context(box.fork(request.limits.run))
            else:  # the box is not needed unchanged any more
                place = box
                place.make_room(request.limits.run)
            on_output = output.listener("run", number)
            runs.append(await _run_case(place, rootfs, env, request, case, budget, on_output, may_run))
        yield Executed(outcome_of(runs), compiled, tuple(runs))
        if keep_as and compiled:
            await _keep(compile_cache, keep_as, compiled, box)


async def _compiled_before(
    stack: AsyncExitStack, sandboxes: Sandboxes, compile_cache: CompileCache, key: str, limits: RunLimits
) -> tuple[Box, CompileStage] | None:
    """Return a box as the same compile stage left it, until `stack` closes; None if none is cached."""
    kept = await asyncio.to_thread(compile_cache.get, key)
    if kept is None:
        return None
    async with AsyncExitStack() as tried:
        box = await tried.enter_async_context(sandboxes.box({}, limits))
        try:
            await box.restore(kept.box)
        except SnapshotError as error:
            log.warning("the cached compilation cannot be used, compiling again: %s", error)
            await asyncio.to_thread(compile_cache.drop, key)
            return None
        stack.push_async_exit(tried.pop_all())
        return box, kept.stage


async def _keep(compile_cache: CompileCache, key: str, stage: CompileStage, box: Box) -> None:
    try:
        content = await box.snapshot()
    except SnapshotError as error:
        log.info("the compilation is not cached: %s", error)
    else:
        await asyncio.to_thread(compile_cache.put, key, CachedCompilation(stage, content))


async def _run_case(
    box: Box,
    rootfs: Rootfs,
    env: Mapping[str, str],
    request: SubmissionRequest,
    case: TestCase,
    budget: AnswerBudget,
    on_output: OnOutput,
    may_run: Callable[[], Awaitable[None]],
) -> RunStage:
    assert request.run
    command = Command(_argv(request.run, "run", case.args), env, case.input.encode(), on_output, may_run)
    completed = await box.run(command, rootfs, request.limits.run)
    cpu_left_s = request.limits.run.cpu_time_s - completed.cpu_time_s
    collected = await box.collect(request.outputs, budget.room_bytes, cpu_left_s)
    return budget.run_stage(completed, case, collected)


def _argv(program: str | tuple[str, ...], name: str, args: Sequence[str]) -> list[str]:
    """Return the command of a program: bash for a script, with `args` as `"$@"`; else argv and `args`."""
    if isinstance(program, str):
        return ["/bin/bash", "-c", program, name, *args]
    return [*program, *args]
