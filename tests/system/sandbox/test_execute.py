"""What compiling and test cases leave for each other, whichever of them run in the box itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from processors.sandbox import Rootfs, Sandboxes
from processors.worker.compile_cache import CompileCache
from processors.worker.execute import Executed, ProgramExecutor
from processors.worker.job import Job
from processors.worker.live_output import AttemptOutput
from tests.system.sandbox.laboratory import Laboratory
from topics.request.cases import TestCase
from topics.request.files import File
from topics.request.model import SubmissionRequest
from topics.submissions.output import OutputChunk
from topics.submissions.state import Work

FILES = (File(name="text", content="as sent\n"),)
SPOIL = "cat text $1; echo spoilt | tee text > $1; ls"


async def once(
    sandboxes: Sandboxes,
    request: SubmissionRequest,
    cache: CompileCache,
    publish: Callable[[OutputChunk], None] = lambda _: None,
) -> Executed:
    fields = {"id": "i", "attempt": 1, "request": request, "dependencies_id": "d", "package_set": "p"}

    async def at_once() -> None:
        return

    work = Work.model_validate(fields)
    output = AttemptOutput(1, "w", publish)
    job = Job(work, Rootfs.of_host_tools(), {}, at_once, lambda _: None, output)
    async with ProgramExecutor(sandboxes, cache, 1 << 20).run(job) as result:
        return result


@pytest.mark.parametrize("cases", [1, 3])
def test_each_case_finds_what_was_sent(laboratory: Laboratory, tmp_path: Path, cases: int) -> None:
    request = SubmissionRequest(files=FILES, run=SPOIL, test_cases=(TestCase(args=("new",)),) * cases)

    async def experiment(sandboxes: Sandboxes) -> None:
        result = await once(sandboxes, request, CompileCache(tmp_path, 0))
        assert [run.stdout for run in result.run] == ["as sent\nnew\ntext\n"] * cases

    laboratory.run(experiment)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
def test_each_case_finds_what_was_compiled_also_later(
    laboratory: Laboratory, tmp_path: Path, kept_bytes: int
) -> None:
    request = SubmissionRequest(
        files=FILES,
        compile="tr s S < text > made",
        run="cat made; echo spoilt > made",
        test_cases=(TestCase(), TestCase()),
    )

    async def experiment(sandboxes: Sandboxes) -> None:
        cache = CompileCache(tmp_path, kept_bytes)
        for cached in (False, kept_bytes > 0):
            result = await once(sandboxes, request, cache)
            assert result.compile is not None
            assert result.compile.cached == cached
            assert [run.stdout for run in result.run] == ["aS Sent\n"] * 2

    laboratory.run(experiment)
