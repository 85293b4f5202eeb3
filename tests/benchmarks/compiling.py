"""C++ compiled and run, for the first time and again: what the compile cache saves."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
from rich.console import Console

from infra.commands.output import print_note
from tests.benchmarks.http_load import Connection, answered, connections
from tests.benchmarks.load import BenchCluster, Job, answer, warm_up
from tests.benchmarks.measuring import Samples, interleaved, milliseconds, print_table, write_results

FIRST, AGAIN = "first time", "again"
WARM_UP = 50
PAUSE_S = 0.06
KEEP_S = 60.0
"""How long a worker may take to keep what it compiled, which it does after the answer."""
_SOURCE = """
#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    std::vector<long> numbers{%d, 2, 1};
    std::sort(numbers.begin(), numbers.end());
    std::cout << numbers.back() << '\\n';
}
"""


def measure(rounds: int) -> None:
    """Measure, print, write."""
    console = Console(width=100)
    samples = asyncio.run(_measure(rounds))
    first = statistics.median(samples[FIRST])
    rows = [
        [
            name,
            milliseconds(statistics.median(taken)),
            milliseconds(max(taken)),
            f"{statistics.median(taken) / first:.2f}",
        ]
        for name, taken in samples.items()
    ]
    print_table(console, "C++ compiled and run", ["", "p50", "max", "p50 / first time"], rows)
    print_note(f"wrote {write_results('compiling', {'seconds': samples})}")


async def _measure(rounds: int) -> Samples:
    numbers = itertools.count(time.time_ns())
    latest: list[Job] = []
    async with BenchCluster() as cluster, connections(cluster.http_port, 1) as [connection]:
        print_note("having the compiler installed")
        await warm_up(cluster, WARM_UP)
        async with httpx.AsyncClient(base_url=cluster.url, trust_env=False) as http:
            await answer(http, _job(next(numbers)))
        print_note(f"measuring: {rounds} rounds")
        variants = {
            FIRST: partial(_first, connection, numbers, latest),
            AGAIN: partial(_again, connection, latest),
        }
        return await interleaved(variants, rounds, PAUSE_S)


def _job(number: int) -> Job:
    request: dict[str, Any] = {
        "files": [{"name": "main.cpp", "content": _SOURCE % number}],
        "compile": ["g++", "-O2", "-o", "main", "main.cpp"],
        "run": ["./main"],
        "dependencies": {"packages": ["g++"]},
    }
    return Job(request, "ok")


async def _first(connection: Connection, numbers: Iterator[int], to: list[Job]) -> float:
    to[:] = [_job(next(numbers))]
    taken, cached = await _timed(connection, to[0])
    if cached:
        raise RuntimeError("what was never compiled before came of the compile cache")
    return taken


async def _again(connection: Connection, latest: list[Job]) -> float:
    deadline = time.monotonic() + KEEP_S
    while time.monotonic() < deadline:
        taken, cached = await _timed(connection, latest[0])
        if cached:
            return taken
        await asyncio.sleep(PAUSE_S)
    raise RuntimeError(f"the compile cache has nothing {KEEP_S:g} s after the answer")


async def _timed(connection: Connection, job: Job) -> tuple[float, bool]:
    """How long the answer took, and whether it came of the compile cache."""
    started = time.perf_counter()
    body = await answered(connection, job)
    taken = time.perf_counter() - started
    return taken, body["compile"].get("cached", False)  # the field is there only if it is true
