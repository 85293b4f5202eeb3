"""How many submissions are accepted a second, and how soon where far more come than can be run."""

import asyncio
import json
import statistics
import time
from collections import Counter
from functools import partial
from typing import Any

from rich.console import Console

from infra.commands.output import print_note
from tests.benchmarks.http_load import Connection, answered, closed_loop, connections
from tests.benchmarks.kafka import Log, a_log, accepted, wait_until
from tests.benchmarks.load import PYTHON, BenchCluster, warm_up
from tests.benchmarks.measuring import milliseconds, percentile, print_table, write_results

CONNECTIONS = 64
BOUND = 10_000
"""Unfinished submissions that ingest accepts by default."""
OVERLOAD = 10
"""So many times more than can be answered."""
OVERLOAD_S = 10.0
UNFINISHED = 500
"""The bound during the overload, so that it is reached, and what was accepted is soon answered."""
WARM_UP = 100
RATE_S = 5.0
DRAIN_S = 1200.0
"""A hundred times what it takes to answer what was accepted."""
_REQUEST = json.dumps(PYTHON.request).encode()


def measure(requests: int) -> None:
    """Measure, print, write; `requests` from Kafka."""
    console = Console(width=100)
    with a_log() as log:
        rates = {"requests from Kafka": accepted(log, requests)}
        with log.role("ingest"), log.role("submission-store"):
            wait_until(log.ingest_has_read)
            rates["POSTs"] = asyncio.run(_posted(log))
    overload = asyncio.run(_overloaded())
    rows = [[what, f"{rate:,.0f}"] for what, rate in rates.items()]
    print_table(console, "accepted per second", ["", "1/s"], rows)
    accepted_s = overload["accepted_s"]
    table = [
        [
            f"{overload['offered_per_s']:.0f}/s offered, {overload['answered_per_s']:.0f}/s can be answered",
            str(len(accepted_s)),
            str(overload["refused"]),
            milliseconds(statistics.median(accepted_s)),
            milliseconds(percentile(accepted_s, 0.99)),
        ]
    ]
    print_table(console, "under overload", ["", "accepted", "refused", "p50", "p99"], table)
    print_note(f"wrote {write_results('accepting', {'per_s': rates, 'overload': overload})}")


async def _posted(log: Log) -> float:
    """Without waiting for answers, up to the bound."""
    left = BOUND

    async def loop(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            reply = await connection.post("/submissions", _REQUEST)
            if reply.status != 202:
                raise RuntimeError(f"not accepted: {reply}")

    async with connections(log.http_port, CONNECTIONS) as opened:
        began = time.perf_counter()
        await asyncio.gather(*map(loop, opened))
        return BOUND / (time.perf_counter() - began)


async def _overloaded() -> dict[str, Any]:
    async with BenchCluster({"ENVICUTOR_MAX_UNFINISHED": str(UNFINISHED)}) as cluster:
        await warm_up(cluster, WARM_UP)
        async with connections(cluster.http_port, CONNECTIONS) as opened:
            loops = [partial(answered, connection, PYTHON) for connection in opened[:16]]
            rate = await closed_loop(loops, RATE_S) / RATE_S
        taken = await _offered(cluster.http_port, rate * OVERLOAD)
        await _drained(cluster.http_port)
    statuses = Counter(status for status, _ in taken)
    return {
        "offered_per_s": len(taken) / OVERLOAD_S,
        "answered_per_s": rate,
        "accepted_s": [seconds for status, seconds in taken if status == 202],
        "refused": statuses[503],
        "others": sum(statuses.values()) - statuses[202] - statuses[503],
    }


async def _offered(port: int, per_s: float) -> list[tuple[int, float]]:
    """Status and time of requests that come at this rate, whatever becomes of those before."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    taken: list[tuple[int, float]] = []

    async def one(due: float) -> None:
        connection = await free.get()
        reply = await connection.post("/submissions", _REQUEST)
        taken.append((reply.status, time.perf_counter() - due))
        free.put_nowait(connection)

    async with connections(port, CONNECTIONS) as opened:
        for connection in opened:
            free.put_nowait(connection)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_s * OVERLOAD_S)):
                due = began + number / per_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(one(due))
    return taken


async def _drained(port: int) -> None:
    """What was accepted is answered: the next one has its turn after it."""
    async with connections(port, 1) as [connection], asyncio.timeout(DRAIN_S):
        while True:
            reply = await connection.post("/submissions?wait=true&wait_timeout_s=30", _REQUEST)
            if json.loads(reply.body).get("status") == "finished":
                return
            await asyncio.sleep(0.5)
