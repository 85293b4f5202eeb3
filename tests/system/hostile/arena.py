"""Where attacks run: sandboxes of one worker for many of them, with an honest neighbour beside each."""

import asyncio
import ctypes
import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processors.sandbox import Command, Completed, Rootfs, Sandboxes, SandboxSettings
from processors.sandbox.cgroups import WORKER
from processors.sandbox.cgroups.files import parse_counters
from tests.support.polling import eventually
from tests.system.hostile.attack import LIMITS, MIB, Attack
from tests.system.sandbox.laboratory import groups_of, left_by, processes_of

HONEST = """
read lines
seq $lines | sort -rn > /tmp/sorted
head -n 2 /tmp/sorted | tee result
(echo child $(cat result | wc -l); exit 3)
echo "exit $?" >&2
ls -A /box /dev/shm
exit 7
"""
HONEST_LIMITS = LIMITS.replace(memory_bytes=64 * MIB, processes=8, box_bytes=MIB, box_files=4, open_files=32)
KEPT_BYTES = MIB
"""The kernel counts pages in batches, per processor."""
GROWTH_BYTES = 12 * MIB
"""What pytest's own records may take; an output flood kept by mistake is more."""


@dataclass(frozen=True)
class Arena:
    """Started sandboxes, and what an honest program's result is while nobody attacks."""

    loop: asyncio.Runner
    settings: SandboxSettings
    sandboxes: Sandboxes
    statistics: Path
    """The memory.stat of all stages together."""
    expected: Sequence[object]

    def face(self, attack: Attack) -> None:
        """Run an attack. Its result must be as expected, a neighbour's as ever, and nothing be left."""
        __tracebackhide__ = True
        self.loop.run(self._face(attack))
        assert processes_of(self.settings, but=self.sandboxes.prepared_uids) == []
        eventually(
            lambda: shared_bytes(self.statistics),
            "shared memory is free again",
            enough=lambda used_bytes: used_bytes < KEPT_BYTES,
        )

    async def _face(self, attack: Attack) -> None:
        async with self.sandboxes.box(attack.program.files(), attack.limits) as box:
            command = Command(attack.program.argv, stdin=attack.stdin)
            running = asyncio.create_task(box.run(command, Rootfs.of_host_tools(), attack.limits))
            try:
                neighbours = [await honest(self.sandboxes)]
                while not running.done():
                    neighbours.append(await honest(self.sandboxes))
            finally:
                running.cancel()  # if it is not over by itself
                await asyncio.wait({running})
            attack.check(running.result())
            if attack.afterwards is not None:
                attack.afterwards(box)
        assert neighbours == [self.expected] * len(neighbours)


async def honest(sandboxes: Sandboxes) -> Sequence[object]:
    """Run a program that harms nobody and uses most of what there is; returns its result."""
    async with sandboxes.box({}, HONEST_LIMITS) as box:
        command = Command(["bash", "-c", HONEST], stdin=b"2000\n")
        done = await box.run(command, Rootfs.of_host_tools(), HONEST_LIMITS)
        return _result(done), box.read("result", 100)


def _result(done: Completed) -> Sequence[object]:
    return done.stdout, done.stderr, done.exit_code, done.signal, done.limit_exceeded, done.truncated


@contextmanager
def opened(settings: SandboxSettings) -> Iterator[Arena]:
    """Sandboxes for a whole suite, after which nothing may be left, nor this process have grown."""
    with asyncio.Runner() as loop:
        sandboxes = Sandboxes(settings)
        loop.run(sandboxes.start())
        groups = groups_of(settings.state_dir)
        try:
            expected = loop.run(honest(sandboxes))
            assert expected[0] == (
                b"2000\n1999\nchild 2\n/box:\nresult\n\n/dev/shm:\n",
                b"exit 3\n",
                7,
                None,
                None,
                False,
            )
            before = resident_bytes()
            stages = (group for group in groups if not group.name.endswith(WORKER))
            (statistics,) = (file for group in stages if (file := group / "memory.stat").exists())
            yield Arena(loop, settings, sandboxes, statistics, expected)
            grown = resident_bytes() - before
        finally:
            loop.run(sandboxes.close())
    assert left_by(settings, groups) == []
    assert grown < GROWTH_BYTES


def shared_bytes(statistics: Path) -> int:
    """Files in memory, of tmpfs and others, that a control group and those below it hold."""
    counted = parse_counters(statistics.read_text())
    return counted.get("total_shmem", counted["shmem"])  # version 1 has a name for each


def resident_bytes() -> int:
    """The memory of this process, which is the worker."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free, but lies between what is not
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
