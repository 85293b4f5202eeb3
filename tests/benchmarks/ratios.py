"""Ratios of Envicutor to the plain program and to bubblewrap, measured in one run.

Requests rotate over environments, limits and owners. Everything that is compared is measured in turn.
"""

import asyncio
import itertools
import json
import resource
import statistics
import subprocess
import time
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.commands.output import print_note
from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.http_load import Connection, closed_loop, connections
from tests.benchmarks.load import NO_OP, PROGRAM, settings, slots_env
from tests.benchmarks.measuring import interleaved, milliseconds, percentile, print_table, write_results
from tests.benchmarks.rotation import RotationCluster
from tests.benchmarks.throughput import BARE_BWRAP, SLICE_S, SLOTS, spawn

PLAIN, OWN, BWRAP, OURS = "plain program", "plain, environment's Python", "bare bwrap", "submission"
NO_OPS, POSTS = "no-op submission", "accepted POST"
AT_ONCE = (1, 8, 16, 64)
NO_OPS_AT_ONCE = 16
PAUSE_S = 0.12
"""Longer than transactions wait for company, which would meet whatever is measured next."""
OF_A, OF_B = 5000, 40
"""Submissions of one owner, and single ones of another meanwhile."""
_CONNECTIONS = 32


def measure(rounds: int, warm_up_s: float) -> None:
    """Measure, print, write; each answer `rounds` times, each rate for a twentieth of that."""
    found = asyncio.run(_measure(rounds, warm_up_s))
    _print(Console(width=100), found)
    print_note(f"wrote {write_results('ratios', found)}")


async def _measure(rounds: int, warm_up_s: float) -> dict[str, Any]:
    slices = max(1, rounds // 20)
    found: dict[str, Any] = {"plain_cpu_s": _cpu_of_plain_s(), "per_second": {}, "cpu_s": {}}
    async with RotationCluster() as cluster:
        print_note("warming up")
        trees = await cluster.prepare(warm_up_s)
        async with connections(cluster.http_port, max(AT_ONCE)) as opened:
            print_note(f"one at a time: {rounds} rounds")
            found["seconds"] = await _one_at_a_time(cluster, opened[0], trees, rounds)
            for at_once in AT_ONCE:
                print_note(f"{at_once} at once")
                meter = CpuMeter(settings().data_dir / "run")
                variants = {
                    PLAIN: partial(_plain_rate, at_once),
                    OURS: partial(_rate, cluster, opened[:at_once], meter),
                }
                found["per_second"][at_once] = await interleaved(variants, slices)
                found["cpu_s"][at_once] = sum(meter.per_one().values())
            print_note(f"{OF_A} submissions of one owner, and single ones of another")
            found["behind_s"] = await _behind(cluster, opened)
    async with RotationCluster(**slots_env(SLOTS)) as cluster:
        print_note("no-ops and POSTs: warming up")
        await cluster.prepare(warm_up_s)
        async with connections(cluster.http_port, _CONNECTIONS) as opened:
            variants = {
                PLAIN: partial(_plain_rate, NO_OPS_AT_ONCE),
                NO_OPS: partial(_no_op_rate, cluster, opened[:NO_OPS_AT_ONCE]),
                POSTS: partial(_post_rate, cluster, opened),
            }
            found["light_per_second"] = await interleaved(variants, slices)
    return found


def _cpu_of_plain_s(times: int = 50) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(times):
        subprocess.run(PROGRAM, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / times


async def _timed(awaited: Awaitable[object]) -> float:
    started = time.perf_counter()
    await awaited
    return time.perf_counter() - started


async def _one_at_a_time(
    cluster: RotationCluster, connection: Connection, trees: Sequence[Path], rounds: int
) -> dict[str, list[float]]:
    jobs, own = cluster.jobs(), itertools.cycle(trees)

    async def run(argv: Sequence[str]) -> None:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)  # noqa: ASYNC221 - nothing else runs

    return await interleaved(
        {
            PLAIN: lambda: _timed(run(PROGRAM)),
            OWN: lambda: _timed(run(("chroot", str(next(own)), *PROGRAM))),
            BWRAP: lambda: _timed(run(BARE_BWRAP)),
            OURS: lambda: _timed(cluster.one(connection, jobs)),
        },
        rounds,
        PAUSE_S,
    )


async def _plain_rate(at_once: int) -> float:
    return await closed_loop([partial(spawn, PROGRAM)] * at_once, SLICE_S) / SLICE_S


async def _rate(cluster: RotationCluster, opened: Sequence[Connection], meter: CpuMeter) -> float:
    jobs = cluster.jobs()
    loops = [partial(cluster.one, connection, jobs) for connection in opened]
    return await meter.over(closed_loop(loops, SLICE_S)) / SLICE_S


async def _no_op_rate(cluster: RotationCluster, opened: Sequence[Connection]) -> float:
    jobs = itertools.cycle(cluster.owned(NO_OP))
    return await closed_loop([partial(cluster.one, each, jobs) for each in opened], SLICE_S) / SLICE_S


async def _post_rate(cluster: RotationCluster, opened: Sequence[Connection]) -> float:
    """Post without waiting, while the worker runs what was accepted; the rest ends before the next slice."""
    jobs = itertools.cycle(cluster.owned(NO_OP))

    async def post(connection: Connection) -> None:
        job = next(jobs)
        reply = await connection.post("/submissions", json.dumps(job.request).encode(), job.key)
        if reply.status != 202:
            raise RuntimeError(f"not accepted: {reply}")

    rate = await closed_loop([partial(post, each) for each in opened], SLICE_S) / SLICE_S
    await cluster.wait_idle(opened[0])
    return rate


async def _behind(cluster: RotationCluster, opened: Sequence[Connection]) -> dict[str, list[float]]:
    """Return answer times of the second owner, idle and behind what the first owner submitted."""
    of_a, of_b = (list(itertools.islice(cluster.owned_jobs(key), OF_A)) for key in cluster.keys)
    connection = opened[0]
    idle = [await _timed(cluster.one(connection, iter([job]))) for job in of_b[:OF_B]]
    ids: list[str] = []

    async def post(each: Connection, jobs: list[Any]) -> None:
        while jobs:
            job = jobs.pop()
            reply = await each.post("/submissions", json.dumps(job.request).encode(), job.key)
            ids.append(json.loads(reply.body)["id"])

    await asyncio.gather(*(post(each, of_a) for each in opened))
    behind = [await _timed(cluster.one(connection, iter([job]))) for job in of_b[OF_B : 2 * OF_B]]

    async def cancel(each: Connection) -> None:
        while ids:
            await each.delete(f"/submissions/{ids.pop()}", cluster.keys[0])

    await asyncio.gather(*map(cancel, opened))
    await cluster.wait_idle(connection)
    return {"idle": idle, "behind": behind}


def _print(console: Console, found: Mapping[str, Any]) -> None:
    print_table(console, "ratios", ["", "ratio"], _ratio_rows(found))
    print_table(console, "times", ["", "time"], _time_rows(found))


def _ratio_rows(found: Mapping[str, Any]) -> list[list[str]]:
    seconds = {name: statistics.median(taken) for name, taken in found["seconds"].items()}
    rates = {
        at_once: {name: statistics.median(taken) for name, taken in samples.items()}
        for at_once, samples in found["per_second"].items()
    }
    best = max(of[PLAIN] for of in rates.values())
    light = {name: statistics.median(taken) for name, taken in found["light_per_second"].items()}
    idle, behind = found["behind_s"]["idle"], found["behind_s"]["behind"]
    bound_s = seconds[OWN] + 3 * statistics.median(idle)
    return [
        ["answer p50 / plain p50", f"{seconds[OURS] / seconds[PLAIN]:.2f}"],
        ["answer p50 / environment's own Python", f"{seconds[OURS] / seconds[OWN]:.2f}"],
        ["answer p50 / bare bwrap", f"{seconds[OURS] / seconds[BWRAP]:.2f}"],
        ["answer p99 / plain p50", f"{percentile(found['seconds'][OURS], 0.99) / seconds[PLAIN]:.2f}"],
        *([f"jobs/s / plain, {at} at once", f"{of[OURS] / best:.2f}"] for at, of in rates.items()),
        *(
            [f"CPU of roles and broker / plain's, {at} at once", f"{cpu_s / found['plain_cpu_s']:.2f}"]
            for at, cpu_s in found["cpu_s"].items()
        ),
        ["no-op submissions/s / plain", f"{light[NO_OPS] / light[PLAIN]:.1f}"],
        ["accepted POSTs/s / plain", f"{light[POSTS] / light[PLAIN]:.1f}"],
        [f"p95 behind {OF_A} / (program + 3 idle)", f"{percentile(behind, 0.95) / bound_s:.2f}"],
    ]


def _time_rows(found: Mapping[str, Any]) -> list[list[str]]:
    times_s = {f"{name}, p50": statistics.median(taken) for name, taken in found["seconds"].items()}
    times_s["plain program, CPU"] = found["plain_cpu_s"]
    times_s |= {f"roles and broker, CPU, {at} at once": cpu_s for at, cpu_s in found["cpu_s"].items()}
    times_s["idle, of the second owner, p50"] = statistics.median(found["behind_s"]["idle"])
    times_s[f"behind {OF_A} of the first, p95"] = percentile(found["behind_s"]["behind"], 0.95)
    return [[name, milliseconds(time_s)] for name, time_s in times_s.items()]
