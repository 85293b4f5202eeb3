"""Memory that the kernel keeps for a program must be counted by its control group, or be little."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from processors.sandbox import Command, Completed, Rootfs
from tests.system.hostile.arena import Arena
from tests.system.hostile.attack import CGROUP_V2, LIMITS, MIB, Attack, c, python
from tests.system.hostile.hoards import HOARDS, PROGRAM, Hoard
from topics.request.limits import RunLimits

pytestmark = pytest.mark.xdist_group("kernel memory")  # each would see what the others hold

HOARD = LIMITS.replace(memory_bytes=512 * MIB, open_files=4096, box_files=65536, box_bytes=128 * MIB)
KILLED_S = 20.0
TRIES = 6
"""Other processes of the host use kernel memory, too; no try of a program that leaks is a good one."""


def used_by_kernel(*names: str) -> int:
    """The sum of these lines of /proc/meminfo, in bytes."""
    values = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE))
    return sum(int(values[name]) for name in names) * 1024


def of_host() -> int:
    """What the kernel uses for itself: slabs, tables of pages, stacks and other large pieces."""
    return used_by_kernel("Slab", "PageTables", "VmallocUsed", "Percpu")


def in_pages_of_host() -> int:
    """What is used, and neither a process's nor cached: slabs, and pages that no figure has.

    Builds of other tests fill the caches of inodes and names, which are reclaimable.
    """
    others = used_by_kernel("MemFree", "Buffers", "Cached", "AnonPages", "SReclaimable")
    return used_by_kernel("MemTotal") - others


def counted(stages: Path) -> int:
    """What of it the control groups of all stages count."""
    if not CGROUP_V2:
        names = ("memory.kmem.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes")
        return sum(int((stages / name).read_text()) for name in names)
    values = dict(line.split() for line in (stages / "memory.stat").read_text().splitlines())
    return int(values["kernel"]) + int(values["sock"])


@dataclass
class Seen:
    """What came of a hoard."""

    answer: str
    done: int
    uncounted_bytes: int
    """The most that was seen."""


async def watched(arena: Arena, hoard: Hoard, limits: RunLimits) -> Seen:
    output = bytearray()
    stages = arena.statistics.parent

    def uncounted() -> int:
        return (in_pages_of_host() if hoard.in_pages else of_host()) - counted(stages)

    async def until(come: Callable[[], bool]) -> int:
        most = uncounted()
        while not (come() or running.done()):
            await asyncio.sleep(0.02)
            most = max(most, uncounted())
        return most

    program = c(PROGRAM % (hoard.operation, hoard.times, hoard.times))
    async with arena.sandboxes.box(program.files(), limits) as compiled, compiled.fork(limits) as box:
        command = Command(program.argv, on_output=lambda _, more: output.extend(more))
        running: asyncio.Task[Completed] = asyncio.create_task(
            box.run(command, Rootfs.of_host_tools(), limits)
        )
        await until(lambda: b"ready" in output)
        before = uncounted()
        (box.path / "go").touch()
        after = await until(lambda: b"did" in output)
        if hoard.answer == "killed":  # the next check may come after the last operation
            await asyncio.wait({running}, timeout=KILLED_S)
        if running.done():
            ended = running.result()
            assert (ended.signal, ended.limit_exceeded) == ("SIGKILL", "memory_bytes"), ended
            return Seen("killed", hoard.times, after - before)
        running.cancel()
        await asyncio.wait({running})
    _, done, answer = output.split()[-3:]
    return Seen(answer.decode(), int(done), after - before)


@pytest.mark.parametrize("hoard", HOARDS, ids=str)
def test_what_is_kept_is_counted(
    arena: Arena, hoard: Hoard, record_property: Callable[[str, object], None]
) -> None:
    for _ in range(TRIES):
        seen = arena.loop.run(watched(arena, hoard, HOARD))
        if seen.uncounted_bytes < hoard.most_bytes:
            break
    record_property("uncounted_bytes_per_operation", seen.uncounted_bytes / hoard.times)
    assert seen.uncounted_bytes < hoard.most_bytes
    assert seen.answer == hoard.answer


def test_databases_take_locks_and_servers_let_connections_wait(arena: Arena) -> None:
    """Hundreds of both for some time are nothing to be ended for."""
    source = """
        import socket, sqlite3, time
        kept = []
        for number in range(100):
            kept.append(sqlite3.connect(f"{number}.db", isolation_level=None))
            kept[-1].execute("create table t (x)"); kept[-1].execute("begin exclusive")
        server = socket.create_server(("127.0.0.1", 0), backlog=1000)
        kept += [socket.create_connection(server.getsockname()) for _ in range(500)]
        time.sleep(0.6)
        kept += [server.accept()[0] for _ in range(500)]
        print(len(kept))
    """
    arena.face(Attack("honest", python(source), HOARD, sees="1100\n"))
