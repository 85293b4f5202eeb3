"""Compiling in a box, unless this host compiled the same before; the same for programs and checkers."""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import NamedTuple

from processors.sandbox import Box, Command, OnOutput, Sandboxes, SnapshotError
from processors.worker.answer_budget import AnswerBudget
from processors.worker.compile_cache import CachedCompilation, CompileCache, Sources, key_of
from processors.worker.job import Job, argv_of
from topics.request.limits import RunLimits
from topics.submissions.stage import CompileStage

log = logging.getLogger(__name__)


class CompiledBox(NamedTuple):
    """A box with the files, as the compile stage left it."""

    box: Box
    stage: CompileStage | None
    """Stage that compiled them, perhaps without success; None if there is nothing to compile."""
    keep_as: str | None
    """Key under which `BoxCompiler.keep` stores the box; until then the box must not change."""


class BoxCompiler:
    """Compile stages in the sandboxes of a worker."""

    def __init__(self, sandboxes: Sandboxes, cache: CompileCache, answer_bytes: int) -> None:
        """Stages are kept in `cache` with the output that fits into an answer of `answer_bytes`."""
        self._sandboxes, self._cache = sandboxes, cache
        self.answer_bytes = answer_bytes

    async def compile(
        self,
        stack: AsyncExitStack,
        job: Job,
        sources: Sources,
        budget: AnswerBudget,
        on_output: OnOutput | None = None,
    ) -> CompiledBox:
        """Return a box that exists until `stack` closes.

        The box is made at once, the command starts after `job.may_run`.

        Raises:
            SandboxError: a sandbox could not be set up; another host may succeed.
            BoxTooSmallError: the files do not fit into the box.
        """
        key = None
        if sources.compile and sources.is_kept and self._cache.enabled:
            key = key_of(sources, job.work.owner, job.rootfs, self.answer_bytes)
            if before := await self._compiled_before(stack, key, sources.box_limits):
                return before._replace(stage=before.stage and budget.compiled_before(before.stage))
        files = {file.name: file.data() for file in sources.files}
        box = await stack.enter_async_context(self._sandboxes.box(files, sources.box_limits))
        if sources.compile is None:
            return CompiledBox(box, None, None)
        argv = argv_of(sources.compile, "compile")
        command = Command(argv, sources.env, on_output=on_output, may_start=job.may_run)
        completed = await box.run(command, job.rootfs, sources.compile_limits)
        return CompiledBox(box, budget.compile_stage(completed), key if completed.ok else None)

    async def keep(self, compiled: CompiledBox) -> None:
        """Store a compiled box in the cache, unless it came from there."""
        if compiled.keep_as is None or compiled.stage is None:
            return
        try:
            content = await compiled.box.snapshot()
        except SnapshotError as error:
            log.info("the compilation is not cached: %s", error)
        else:
            compilation = CachedCompilation(compiled.stage, content)
            await asyncio.to_thread(self._cache.put, compiled.keep_as, compilation)

    async def _compiled_before(
        self, stack: AsyncExitStack, key: str, limits: RunLimits
    ) -> CompiledBox | None:
        """Return a box as the same compile stage left it, until `stack` closes; None if none is cached."""
        kept = await asyncio.to_thread(self._cache.get, key)
        if kept is None:
            return None
        async with AsyncExitStack() as tried:
            box = await tried.enter_async_context(self._sandboxes.box({}, limits))
            try:
                await box.restore(kept.box)
            except SnapshotError as error:
                log.warning("the cached compilation cannot be used, compiling again: %s", error)
                await asyncio.to_thread(self._cache.drop, key)
                return None
            stack.push_async_exit(tried.pop_all())
            return CompiledBox(box, kept.stage, None)
