"""A worker that can leave the sandbox out, and logs when it did what: `python -m tests.benchmarks.no_op`.

Everything else is the worker's own: with the file `no-op`, a submission takes every step but box and program.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import uvloop

from nix.cache import Cache
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Box, Collected, Command, Completed, Rootfs, Sandboxes, SandboxSettings
from processors.settings import WorkSettings
from processors.worker.worker import Worker
from topics.catalogue import catalogue
from topics.disk import DiskSettings, DiskWatch
from topics.kafka.waiting import topics_in_background, topics_of
from topics.request.limits import RunLimits
from topics.settings import KafkaSettings
from topics.submissions.facts import Started
from topics.submissions.state import Work

NO_OP = "no-op"
MARKS = "ENVICUTOR_BENCH_MARKS"
"""Environment variable: the file that marks are written to."""
_NOTHING = Completed(
    stdout=b"",
    stderr=b"",
    exit_code=0,
    signal=None,
    wall_time_s=0.0,
    cpu_time_s=0.0,
    memory_bytes=0,
    limit_exceeded=None,
    truncated=False,
)


class Marks:
    """Lines of `SECONDS WHAT`, by the clock that all processes of the machine share."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def put(self, what: str) -> None:
        """It happens now."""
        self._file.write(f"{time.time():.6f} {what}\n")


class NoBox(Box):
    """Runs nothing."""

    async def run(self, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        """Wait for what a program would wait for."""
        await command.may_start()
        return _NOTHING

    @contextlib.asynccontextmanager
    async def fork(self, limits: RunLimits) -> AsyncIterator[Box]:
        """Itself."""
        yield self

    def make_room(self, limits: RunLimits) -> None:
        """None is needed."""

    async def collect(
        self,
        patterns: Sequence[str],
        room_bytes: int,
        cpu_time_s: float = 0,
    ) -> Collected:
        """Nothing."""
        return Collected()


class MarkedBoxes(Sandboxes):
    """Boxes whose way is marked; none for a no-op."""

    def __init__(self, settings: SandboxSettings, marks: Marks) -> None:
        super().__init__(settings)
        self._marks = marks

    @contextlib.asynccontextmanager
    async def box(self, files: Mapping[str, bytes], limits: RunLimits) -> AsyncIterator[Box]:
        """A box, or what looks like one."""
        if NO_OP in files:
            yield NoBox(Path("/nonexistent"), 0, self._run)
            return
        async with super().box(files, limits) as box:
            self._marks.put("box made")
            yield box

    async def _run(self, box: Box, command: Command, rootfs: Rootfs, limits: RunLimits) -> Completed:
        async def may_start() -> None:
            await command.may_start()
            self._marks.put("program begun")

        marked = Command(command.argv, command.env, command.stdin, command.on_output, may_start)
        completed = await super()._run(box, marked, rootfs, limits)
        self._marks.put("sandbox gone")
        return completed


def _marked(worker: Worker, marks: Marks) -> Worker:
    """The worker, which marks when it takes a record."""
    executor = worker.executor
    started = executor.started

    def marked(work: Work) -> Started:
        marks.put("popped")
        return started(work)

    executor.started = marked  # type: ignore[method-assign]
    return worker


async def _run() -> bool:
    kafka = KafkaSettings()
    marks = Marks(open(os.environ[MARKS], "a", buffering=1))  # noqa: ASYNC230, SIM115 - until the process ends
    sandboxes = MarkedBoxes(SandboxSettings(), marks)
    cache = Cache(NixSettings(), SandboxRunner(sandboxes))
    disk = DiskWatch.of_role(DiskSettings(), kafka.data_dir)
    topics = topics_in_background(kafka, topics_of("worker", catalogue(kafka)), "worker")
    worker = _marked(Worker(kafka, catalogue(kafka), WorkSettings(), sandboxes, cache, topics, disk), marks)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.stop)
    return await worker.run()


if __name__ == "__main__":
    raise SystemExit(0 if uvloop.run(_run()) else 1)
