"""Answers per second at several concurrencies, beside the plain program, and what each role's CPU time is."""

import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from infra.bench.load import NO_OP, PROGRAM, PYTHON, Job, answer, settings, warm_up
from infra.bench.measuring import Samples, interleaved, print_table, write_results
from infra.commands.output import say
from infra.local import LocalCluster

CONCURRENCIES = (1, 2, 4, 8, 16, 64)
SLICE_S = 2.0
"""How long one thing is measured before the next has its turn."""
WARM_UP = 300
USR = ("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64")
BARE_BWRAP = ("bwrap", "--unshare-all", *USR, "--proc", "/proc", "--dev", "/dev", *PROGRAM)
PLAIN, BWRAP, SUBMISSION, PIPELINE = "plain program", "bare bwrap loop", "submissions", "pipeline alone"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

CpuTimes = Mapping[str, float]
"""Seconds of CPU by role."""


def measure(rounds: int) -> None:
    """Measure, print, write."""
    console = Console(width=100)
    found = asyncio.run(_measure(rounds, console))
    say(f"wrote {write_results('throughput', found)}")


async def _measure(rounds: int, console: Console) -> dict[str, Any]:
    rates: dict[int, Samples] = {}
    cpu_s: dict[int, CpuTimes] = {}
    async with LocalCluster(settings(), say) as cluster:
        say(f"warming up: {WARM_UP} submissions")
        await warm_up(cluster, WARM_UP)
        run_dir = settings().data_dir / "run"
        limits = httpx.Limits(max_connections=max(CONCURRENCIES), keepalive_expiry=1.0)  # before the server
        async with httpx.AsyncClient(base_url=cluster.url, trust_env=False, limits=limits) as http:
            for concurrency in CONCURRENCIES:
                say(f"{concurrency} at once")
                meter = _CpuMeter(run_dir)
                rates[concurrency] = await interleaved(
                    {
                        PLAIN: partial(_rate, concurrency, partial(_spawn, PROGRAM)),
                        BWRAP: partial(_rate, concurrency, partial(_spawn, BARE_BWRAP)),
                        SUBMISSION: partial(_rate, concurrency, partial(_answer, http, PYTHON)),
                        PIPELINE: partial(meter.rate, concurrency, partial(_answer, http, NO_OP)),
                    },
                    rounds,
                )
                cpu_s[concurrency] = meter.per_answer()
    _print(console, rates, cpu_s)
    return {"per_second": rates, "pipeline_cpu_s": cpu_s}


async def _spawn(argv: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError(f"{argv} ended with {process.returncode}")


async def _answer(http: httpx.AsyncClient, job: Job) -> None:
    await answer(http, job)


async def _rate(concurrency: int, once: Callable[[], Awaitable[None]]) -> float:
    """How often a second, by so many who each begin again at once."""
    return await _closed_loop(concurrency, once) / SLICE_S


async def _closed_loop(concurrency: int, once: Callable[[], Awaitable[None]]) -> float:
    """How often within the slice; what is not over at its end counts in part."""
    began = time.perf_counter()
    end = began + SLICE_S

    async def loop() -> float:
        count = 0.0
        while (started := time.perf_counter()) < end:
            await once()
            ended = time.perf_counter()
            count += 1 if ended <= end else (end - started) / (ended - started)
        return count

    return sum(await asyncio.gather(*(loop() for _ in range(concurrency))))


class _CpuMeter:
    """CPU time of every process of a system, by its pid files."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._answers = 0.0

    async def rate(self, concurrency: int, once: Callable[[], Awaitable[None]]) -> float:
        """Measure a slice."""
        before = self._read()
        count = await _closed_loop(concurrency, once)
        self._answers += count
        for role, seconds in self._read().items():
            self._spent_s[role] += seconds - before[role]
        return count / SLICE_S

    def per_answer(self) -> dict[str, float]:
        """CPU seconds of each role for one answer."""
        return {role: spent_s / self._answers for role, spent_s in sorted(self._spent_s.items())}

    def _read(self) -> dict[str, float]:
        return {file.stem: _cpu_time_s(int(file.read_text())) for file in self._run_dir.glob("*.pid")}


def _cpu_time_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S  # utime and stime, see proc(5)


def _print(console: Console, rates: Mapping[int, Samples], cpu_s: Mapping[int, CpuTimes]) -> None:
    medians = {
        concurrency: {name: statistics.median(taken) for name, taken in samples.items()}
        for concurrency, samples in rates.items()
    }
    best_plain = max(found[PLAIN] for found in medians.values())
    best_bwrap = max(found[BWRAP] for found in medians.values())
    rows = [
        [
            str(concurrency),
            *(f"{found[name]:.1f}" for name in (PLAIN, BWRAP, SUBMISSION, PIPELINE)),
            *(f"{found[SUBMISSION] / best:.2f}" for best in (best_plain, best_bwrap)),
        ]
        for concurrency, found in medians.items()
    ]
    columns = ["at once", "plain/s", "bwrap/s", "ours/s", "pipeline/s", "ours / plain", "ours / bwrap"]
    print_table(console, "throughput; ratios to the best of the others", columns, rows)
    roles = sorted(next(iter(cpu_s.values())))
    table = [[role, *(f"{found.get(role, 0.0) * 1000:.2f}" for found in cpu_s.values())] for role in roles]
    total = ["all", *(f"{sum(found.values()) * 1000:.2f}" for found in cpu_s.values())]
    columns = ["role", *(f"{concurrency} at once" for concurrency in cpu_s)]
    print_table(console, "CPU ms for one answer of the pipeline alone", columns, [*table, total])
