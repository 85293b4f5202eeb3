"""One submission in the sandbox: compilation, unless it is cached, then each test case on that box."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from processors.sandbox import Box, Command, Forks, Sandboxes
from processors.worker.answer_budget import AnswerBudget
from processors.worker.checker import CheckedOutput, OutputChecker
from processors.worker.comparisons import is_same
from processors.worker.compile_cache import CompileCache, Sources
from processors.worker.compiling import BoxCompiler, CompiledBox
from processors.worker.grading import (
    grade_of,
    outcome_of,
    stage_not_run,
    verdict_of_failure,
    verdict_of_output,
)
from processors.worker.job import Job, argv_of
from topics.request.cases import CheckerComparison, TestCase
from topics.request.model import SubmissionRequest
from topics.submissions.stage import CompileStage, Outcome, RunStage

SMALL_BYTES = 1 << 16
"""Output that is compared on the event loop; more of it takes a thread."""


class Executed(NamedTuple):
    """Outcome and stages of a submission."""

    outcome: Outcome
    compile: CompileStage | None
    run: tuple[RunStage, ...]
    error: str | None = None
    """Description of the failure if the outcome is `internal_error`."""


class ProgramExecutor:
    """Compilation and test cases in the sandboxes of a worker; answers have at most `answer_bytes`."""

    def __init__(self, sandboxes: Sandboxes, compile_cache: CompileCache, answer_bytes: int) -> None:
        self._compiler = BoxCompiler(sandboxes, compile_cache, answer_bytes)
        self._answer_bytes = answer_bytes

    @asynccontextmanager
    async def run(self, job: Job) -> AsyncIterator[Executed]:
        """Run the programs of a job.

        Boxes and sandboxes are made at once, programs start after `job.may_run`. The result is yielded before
        compilations are cached and the last boxes removed, so that the client need not wait for either.

        Raises:
            SandboxError: a sandbox could not be set up; another host may succeed.
            BoxTooSmallError: the files do not fit into the box.
        """
        request, budget = job.work.request, AnswerBudget(self._answer_bytes)
        async with AsyncExitStack() as stack:
            sources, on_output = Sources.of_program(request, job.env), job.output.listener("compile")
            compiled = await self._compiler.compile(stack, job, sources, budget, on_output)
            if (stage := compiled.stage) and not stage.ok:
                yield Executed("compile_failed", stage, ())
                return
            if stage:
                job.on_compiled(stage)
            checker = OutputChecker(request.checker, self._compiler, stack, job) if request.checker else None
            runs = await _Cases(job, compiled, budget, checker).run(stack)
            yield Executed(outcome_of(runs), stage, tuple(runs), checker.failure if checker else None)
            await self._compiler.keep(compiled)
            if checker:
                await checker.keep()


class _Cases:
    """The test cases of one submission, each of which starts from the same box."""

    def __init__(
        self, job: Job, compiled: CompiledBox, budget: AnswerBudget, checker: OutputChecker | None
    ) -> None:
        self._job, self._compiled = job, compiled
        self._budget, self._checker = budget, checker
        self._request: SubmissionRequest = job.work.request

    async def run(self, stack: AsyncExitStack) -> list[RunStage]:
        """Run the test cases one after the other; the last boxes exist until `stack` closes."""
        request, runs = self._request, list[RunStage]()
        forks = Forks(self._compiled.box, request.limits.run)
        stack.push_async_callback(forks.close)
        for number, case in enumerate(request.cases):
            if request.stop_at_first_failure and runs and runs[-1].verdict != "accepted":
                runs.append(stage_not_run(request, case))
            else:
                runs.append(await self._run_case(await self._box(forks, number), number, case))
        return runs

    async def _box(self, forks: Forks, number: int) -> Box:
        """Return the box of a case; the last one may change the compiled box, unless that is to be kept."""
        limits, box = self._request.limits.run, self._compiled.box
        last_fork = len(self._request.cases) - (1 if self._compiled.keep_as else 2)
        if number <= last_fork:
            return await forks.take(another=number < last_fork)
        if number:
            await forks.retire()
        box.make_room(limits)
        return box

    async def _run_case(self, box: Box, number: int, case: TestCase) -> RunStage:
        request, job = self._request, self._job
        assert request.run
        argv, stdin = argv_of(request.run, "run", case.args), case.stdin(request.files)
        on_output = None if case.hidden else job.output.listener("run", number)
        command = Command(argv, job.env, stdin, on_output, job.may_run)
        completed = await box.run(command, job.rootfs, request.limits.run)
        cpu_left_s = request.limits.run.cpu_time_s - completed.cpu_time_s
        collected = await box.collect(request.outputs, self._budget.room_bytes, cpu_left_s)
        if not completed.ok:
            grade = grade_of(request, case, verdict_of_failure(completed))
            return self._budget.run_stage(completed, grade, collected)
        share, checked = await self._check(number, case, stdin, completed.stdout)
        grade = grade_of(request, case, verdict_of_output(share), share or 0.0)
        return self._budget.run_stage(completed, grade, collected, checked)

    async def _check(self, number: int, case: TestCase, stdin: bytes, stdout: bytes) -> CheckedOutput:
        if self._checker:
            return await self._checker.check(number, case, stdin, stdout)
        comparison, expected = self._request.comparison, case.expected()
        assert not isinstance(comparison, CheckerComparison)
        if expected is None:
            return CheckedOutput(1.0, None)
        if len(stdout) <= SMALL_BYTES:
            same = is_same(stdout, expected, comparison)
        else:
            same = await asyncio.to_thread(is_same, stdout, expected, comparison)
        return CheckedOutput(float(same), None)
