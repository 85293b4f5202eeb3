"""Checkers: programs of a request that decide about the output of its test cases.

A checker has a box of its own, with the submission's environment and without the request's `env`. It is
compiled when a test case first needs it, and runs in a fork of that box for each one.
"""

import base64
import re
from contextlib import AsyncExitStack
from typing import NamedTuple

from processors.sandbox import Box, BoxTooSmallError, Command, Completed, Forks
from processors.worker.answer_budget import AnswerBudget
from processors.worker.comparisons import NUMBER
from processors.worker.compile_cache import Sources
from processors.worker.compiling import BoxCompiler, CompiledBox
from processors.worker.job import Job, argv_of
from topics.request.cases import CHECKER_FILES, CheckerComparison, TestCase
from topics.submissions.stage import CompileStage

REFUSES = frozenset({1, 2, 4, 8})
"""Exit codes that refuse an output: testlib's `_wa`, `_pe`, `_dirt` and `_unexpected_eof`."""
ACCEPTS_A_SHARE = 7
"""Exit code that accepts a part of an output: testlib's `_points`."""
SHARE_BYTES = 4 << 10
"""Beginning of each stream that is searched for a share. A search of megabytes of digits takes a second."""
EXCERPT_CHARACTERS = 1000
"""Beginning of the output of a failed compilation that is quoted."""
_SHARE = re.compile(rb"(?<![\w.,+/-])(?>%b)(?!\w|[.,/]\d)" % NUMBER)
"""A number that stands alone, so neither `0.5pts` nor `0,5` nor `1/2`; none of them is cut to a part."""


class CheckerFailedError(Exception):
    """The checker did not decide; the message is the reason."""


class CheckedOutput(NamedTuple):
    """Decision of a checker about the output of one test case."""

    share: float | None
    """Share of the points that the output deserves, from 0 to 1; None if the checker failed."""
    run: Completed | None
    """Run of the checker; None if it did not run."""


class OutputChecker:
    """The checker of one submission."""

    def __init__(
        self, comparison: CheckerComparison, compiler: BoxCompiler, stack: AsyncExitStack, job: Job
    ) -> None:
        """Prepare a checker whose box exists from its first use until `stack` closes."""
        self._comparison, self._compiler = comparison, compiler
        self._stack, self._job = stack, job
        self._compiled: CompiledBox | str | None = None
        """Box of the checker, or the reason why its files have none; None until a case needs it."""
        self._forks: Forks | None = None
        self.failure: str | None = None
        """Reason why the checker first failed; None if it did not."""

    async def check(self, number: int, case: TestCase, stdin: bytes, stdout: bytes) -> CheckedOutput:
        """Return the decision about what the program printed in a test case.

        Raises:
            SandboxError: a sandbox could not be set up; another host may succeed.
        """
        run = None
        try:
            forks = self._forks = self._forks or await self._make_forks()
            fork = await forks.take(another=number + 1 < len(self._job.work.request.cases))
            run = await self._run(fork, (stdin, stdout, case.expected() or b""))
            return CheckedOutput(share_of(run), run)
        except CheckerFailedError as error:
            self.failure = self.failure or f"the checker failed at test_cases.{number}: {error}"
            return CheckedOutput(None, run)

    async def keep(self) -> None:
        """Store the compiled checker in the compile cache."""
        if isinstance(self._compiled, CompiledBox):
            await self._compiler.keep(self._compiled)

    async def _make_forks(self) -> Forks:
        forks = Forks(await self._box(), self._comparison.limits)
        self._stack.push_async_callback(forks.close)
        return forks

    async def _box(self) -> Box:
        self._compiled = self._compiled or await self._compile()
        if isinstance(self._compiled, str):
            raise CheckerFailedError(self._compiled)
        stage = self._compiled.stage
        if stage and not stage.ok:
            raise CheckerFailedError(f"comparison.compile: {_end_of(stage)}: {_excerpt(stage)}")
        return self._compiled.box

    async def _compile(self) -> CompiledBox | str:
        sources = Sources.of_checker(self._comparison, self._job.variables)
        unused = AnswerBudget(self._compiler.answer_bytes)  # the answer has no stage for it
        try:
            return await self._compiler.compile(self._stack, self._job, sources, unused)
        except BoxTooSmallError as error:
            name = "compile_limits" if sources.compile else "limits"
            return f"comparison.files exceed comparison.{name}.{error.limit}"

    async def _run(self, fork: Box, contents: tuple[bytes, bytes, bytes]) -> Completed:
        argv = argv_of(self._comparison.run, "run", CHECKER_FILES)
        command = Command(argv, self._job.variables, may_start=self._job.may_run)
        try:
            await fork.write(dict(zip(CHECKER_FILES, contents, strict=True)))
        except BoxTooSmallError as error:
            raise CheckerFailedError(
                f"input, output and answer exceed comparison.limits.{error.limit}"
            ) from error
        except FileExistsError as error:
            raise CheckerFailedError("comparison.compile made a file input, output or answer") from error
        return await fork.run(command, self._job.rootfs, self._comparison.limits)


def share_of(run: Completed) -> float:
    """Return the share of the points that a checker gives, by its exit code and what it printed.

    Raises:
        CheckerFailedError: it ended otherwise than a checker may.
    """
    if run.ok:
        return 1.0
    if run.limit_exceeded is None and run.exit_code in REFUSES:
        return 0.0
    if run.limit_exceeded is None and run.exit_code == ACCEPTS_A_SHARE:
        return _printed_share(run)
    raise CheckerFailedError(f"comparison.run: {_end_of(run)}")


def _printed_share(run: Completed) -> float:
    found = _SHARE.search(run.stdout[:SHARE_BYTES]) or _SHARE.search(run.stderr[:SHARE_BYTES])
    share = float(found[0]) if found else -1.0
    if not 0 <= share <= 1:
        printed = found[0][:100].decode() if found else "none"
        raise CheckerFailedError(
            f"comparison.run: exit code {ACCEPTS_A_SHARE} needs a number from 0 to 1 in the first "
            f"{SHARE_BYTES >> 10} KiB of the output, and the first one is {printed}"
        )
    return abs(share)  # of -0


def _end_of(stage: Completed | CompileStage) -> str:
    """Return how a stage ended that did not succeed."""
    if stage.limit_exceeded:
        return f"it exceeded {stage.limit_exceeded}"
    return f"{stage.signal} ended it" if stage.signal else f"it ended with exit code {stage.exit_code}"


def _excerpt(stage: CompileStage) -> str:
    printed = stage.stderr or stage.stdout
    if stage.encoding == "base64":
        printed = base64.b64decode(printed).decode(errors="replace")
    return printed[:EXCERPT_CHARACTERS].strip() or "it printed nothing"
