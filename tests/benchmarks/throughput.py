"""Answers per second at several concurrencies, beside the plain program, and what each role's CPU time is."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from infra.commands.output import print_note
from tests.benchmarks import plot
from tests.benchmarks.cpu import CpuMeter, CpuTimes
from tests.benchmarks.http_load import answered, closed_loop, connections
from tests.benchmarks.load import NO_OP, PROGRAM, PYTHON, BenchCluster, Job, settings, slots_env, warm_up
from tests.benchmarks.measuring import Samples, interleaved, print_table, write_plot, write_results

CONCURRENCIES = (1, 2, 4, 8, 16, 64)
SLICE_S = 2.0
"""How long one thing is measured before the next has its turn."""
WARM_UP = 300
SLOTS = 64
"""Of the worker whose submissions run nothing: CPUs are not what they wait for."""
USR = ("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64")
BARE_BWRAP = ("bwrap", "--unshare-all", *USR, "--proc", "/proc", "--dev", "/dev", *PROGRAM)
PLAIN, BWRAP, SUBMISSION, PIPELINE = "plain program", "bare bwrap loop", "submissions", "pipeline alone"
Variant = Callable[[], Awaitable[float]]


def measure(rounds: int) -> None:
    """Measure, print, write."""
    console = Console(width=100)
    found = asyncio.run(_measure(rounds))
    _print(console, found)
    curves = {
        name: [(at, statistics.median(samples[name])) for at, samples in found["per_second"].items()]
        for name in (PLAIN, BWRAP, SUBMISSION, PIPELINE)
    }
    write_plot("throughput", plot.lines("answers per second", "submissions at once", curves))
    print_note(f"wrote {write_results('throughput', found)}")


async def _measure(rounds: int) -> dict[str, Any]:
    rates: dict[int, Samples] = {concurrency: {} for concurrency in CONCURRENCIES}
    cpu_s: dict[str, dict[int, CpuTimes]] = {SUBMISSION: {}, PIPELINE: {}}
    others = {PLAIN: partial(spawn, PROGRAM), BWRAP: partial(spawn, BARE_BWRAP)}
    for name, job, slots, beside in (
        (SUBMISSION, PYTHON, None, others),
        (PIPELINE, NO_OP, SLOTS, {}),
    ):
        async with BenchCluster(slots_env(slots) if slots else {}) as cluster:
            print_note(f"warming up: {WARM_UP} submissions")
            await warm_up(cluster, WARM_UP)
            for concurrency in CONCURRENCIES:
                print_note(f"{name}: {concurrency} at once")
                meter = CpuMeter(settings().data_dir / "run")
                variants: dict[str, Variant] = {
                    other: partial(_rate, concurrency, once) for other, once in beside.items()
                }
                variants[name] = partial(_answers, meter, cluster.http_port, concurrency, job)
                rates[concurrency] |= await interleaved(variants, rounds)
                cpu_s[name][concurrency] = meter.per_one()
    return {"per_second": rates, "cpu_s": cpu_s}


async def spawn(argv: Sequence[str]) -> None:
    """Run a program to its end; raises RuntimeError if it fails."""
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError(f"{argv} ended with {process.returncode}")


async def _rate(concurrency: int, once: Callable[[], Awaitable[None]]) -> float:
    """How often a second, by so many who each begin again at once."""
    return await closed_loop([once] * concurrency, SLICE_S) / SLICE_S


async def _answers(meter: CpuMeter, port: int, concurrency: int, job: Job) -> float:
    async with connections(port, concurrency) as opened:
        loops = [partial(answered, connection, job) for connection in opened]
        return await meter.over(closed_loop(loops, SLICE_S)) / SLICE_S


def _print(console: Console, found: Mapping[str, Any]) -> None:
    medians = {
        concurrency: {name: statistics.median(taken) for name, taken in samples.items()}
        for concurrency, samples in found["per_second"].items()
    }
    best_plain = max(of[PLAIN] for of in medians.values())
    best_bwrap = max(of[BWRAP] for of in medians.values())
    rows = [
        [
            str(concurrency),
            *(f"{of[name]:.1f}" for name in (PLAIN, BWRAP, SUBMISSION, PIPELINE)),
            *(f"{of[SUBMISSION] / best:.2f}" for best in (best_plain, best_bwrap)),
        ]
        for concurrency, of in medians.items()
    ]
    columns = ["at once", "plain/s", "bwrap/s", "ours/s", "pipeline/s", "ours / plain", "ours / bwrap"]
    print_table(console, "throughput; ratios to the best of the others", columns, rows)
    for name, cpu_s in found["cpu_s"].items():
        _print_cpu(console, f"CPU ms for one answer, by how many at once: {name}", cpu_s)


def _print_cpu(console: Console, title: str, cpu_s: Mapping[int, CpuTimes]) -> None:
    roles = sorted(next(iter(cpu_s.values())))
    table = [[role, *(f"{of.get(role, 0.0) * 1000:.2f}" for of in cpu_s.values())] for role in roles]
    total = ["all", *(f"{sum(of.values()) * 1000:.2f}" for of in cpu_s.values())]
    print_table(console, title, ["role", *map(str, cpu_s)], [*table, total])
