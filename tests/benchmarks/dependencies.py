"""How long environments take to build, to find again, and to come from another host."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.commands.output import print_note
from nix import resolve
from nix.cache import Cache, InstalledEnvironment
from nix.dependencies import Expression, Packages
from processors.sandbox import Command, Rootfs, Sandboxes, SandboxSettings
from tests.benchmarks import first_builds
from tests.benchmarks.apt import Apt
from tests.benchmarks.first_builds import PYTHON, TARGETS_S
from tests.benchmarks.hosts import Bench, Has, folder_of_hosts
from tests.benchmarks.measuring import (
    Samples,
    Summary,
    interleaved,
    kept,
    milliseconds,
    print_table,
    write_results,
)
from tests.benchmarks.sandbox import own_settings
from topics.dependencies.state import EnvironmentState
from topics.kafka.codec import encode
from topics.request.limits import DependenciesLimits, RunLimits
from topics.request.model import Dependencies as Asked
from topics.submissions.acceptance import SYSTEM

CACHED_AIM_S = 0.001
"""What an environment that is there adds to a submission."""
FETCH_AIM_S = 0.4
"""For python3, 70 MiB in 4,000 files."""
APT_AIM = 1.0
"""Most times that apt-get takes, for python3 with the archives in the pool."""
LIMITS = RunLimits()


def measure(rounds: int, packages: Sequence[str]) -> None:
    """Measure these packages, or everything if there are none; print and write what was found."""
    console = Console(width=120)
    with own_settings() as settings, folder_of_hosts() as folder:
        found = asyncio.run(_measure(settings, folder, rounds, packages, console))
    print_note(f"wrote {write_results('dependencies', found)}")


async def _measure(
    settings: SandboxSettings, folder: Path, rounds: int, packages: Sequence[str], console: Console
) -> dict[str, Any]:
    sandboxes = Sandboxes(settings)
    await sandboxes.start()
    try:
        bench = Bench(folder, sandboxes)
        names = packages or first_builds.PACKAGES
        rows = first_builds.rows(packages, bench.pin)
        apt = await _apt(bench, folder / "apt") if PYTHON in names else None
        print_note("building")
        built = await first_builds.measure(bench, rows, rounds, apt)
        _print_builds(console, built, rows)
        numbers = _print_apt(console, bench, apt, built) if apt else {}
        print_note("asking again")
        again = await _again(bench, rounds, names)
        _print_again(console, again, names)
        print_note("finding what is there")
        cached = await _cached(bench, rounds * 50, names[0])
        _print_cached(console, cached)
        print_note("from one host to another")
        copied = await _copies(bench, rounds, names[0])
        _print_copies(console, copied)
        print_table(console, "aims", ["what", "aim", "measured", "reached"], aims(built, copied))
    finally:
        await sandboxes.close()
    return {
        "builds_s": kept(built),
        "again_s": kept(again),
        "cached_s": kept(cached),
        "copies_s": kept(copied),
        "packages": numbers,
    }


# -- building --------------------------------------------------------------------------------------


async def _apt(bench: Bench, folder: Path) -> Apt:
    apt = Apt(folder, bench.package_set, [PYTHON])
    await apt.fetch_archives(bench.settings)
    bench.keep_archives()
    return apt


def _print_builds(console: Console, samples: Samples, rows: Sequence[first_builds.Row]) -> None:
    title = "first builds, each row on a host of its own on which nothing else was built before"
    columns = ["environment", Has.TREES, "max", Has.ARCHIVES, "max", "aim", Has.NOTHING]
    print_table(console, title, columns, first_builds.table(samples, rows))


def _print_apt(console: Console, bench: Bench, apt: Apt, samples: Samples) -> dict[str, int]:
    base = bench.package_set.names.base
    ours = len(resolve.closure([*base, PYTHON], bench.package_set.index))
    title = (
        "beside apt-get, into an empty folder and with the archives there: "
        f"apt-get installs {apt.packages} packages, the environment has {ours}"
    )
    columns = ["what", "p50", "max", "times apt-get"]
    print_table(console, title, columns, first_builds.beside_apt(samples))
    return {"apt-get": apt.packages, "environment": ours}


# -- asking again ----------------------------------------------------------------------------------


async def _again(bench: Bench, rounds: int, packages: Sequence[str]) -> Samples:
    """Measure what a cache builder does with an environment that its host has, in several spellings."""
    with ExitStack() as hosts:
        variants: dict[str, Callable[[], Awaitable[float]]] = {}
        for name in packages:
            wanted, seen = Packages((name,)), _expression(name, 0)
            cache = hosts.enter_context(bench.host(Has.TREES))
            for dependencies in (wanted, seen):
                await bench.install(cache, dependencies)
            variants |= {
                f"{name}, asked again": partial(bench.timed_install, cache, wanted),
                f"{name}, as expression": partial(_timed_unseen, bench, cache, name, count(1)),
                f"{name}, as expression, seen before": partial(bench.timed_install, cache, seen),
            }
        return await interleaved(variants, rounds)


async def _timed_unseen(bench: Bench, cache: Cache, name: str, numbers: Iterator[int]) -> float:
    return await bench.timed_install(cache, _expression(name, next(numbers)))


def _expression(name: str, number: int) -> Expression:
    """Return an expression of one package, which differs from those with other numbers."""
    return Expression(f"# {number}\n{{ pkgs }}: [ pkgs.{name} ]")


def _print_again(console: Console, samples: Samples, packages: Sequence[str]) -> None:
    ways = ("asked again", "as expression", "as expression, seen before")
    rows = [
        [name, *(milliseconds(Summary.of(samples[f"{name}, {way}"]).p50) for way in ways)]
        for name in packages
    ]
    print_table(console, "an environment that the host has, p50", ["environment", *ways], rows)


# -- finding what is there -------------------------------------------------------------------------


async def _cached(bench: Bench, rounds: int, package: str) -> Samples:
    """What a worker does with dependencies that its view shows as installed."""
    with bench.host(Has.TREES) as cache:
        installed = await bench.install(cache, Packages((package,)))
        return await _found(bench, cache, encode(_state(installed, bench.pin)), rounds)


async def _found(bench: Bench, cache: Cache, row: bytes, rounds: int) -> Samples:
    async def look_up() -> float:
        started = time.perf_counter()
        with _held(cache, row):
            return time.perf_counter() - started

    async def run(*, cached: bool) -> float:
        async with bench.sandboxes.box({}, LIMITS) as box:
            started = time.perf_counter()
            if cached:
                with _held(cache, row) as tree:
                    await box.run(Command(["true"]), Rootfs.of_environment(tree), LIMITS)
            else:
                await box.run(Command(["true"]), Rootfs.of_host_tools(), LIMITS)
            return time.perf_counter() - started

    return await interleaved(
        {
            "read the state, lock the environment": look_up,
            "run `true` on the host's tools": partial(run, cached=False),
            "run `true` in a cached environment": partial(run, cached=True),
        },
        rounds,
    )


@contextmanager
def _held(cache: Cache, row: bytes) -> Iterator[Path]:
    state = EnvironmentState.model_validate_json(row)
    assert state.store_path
    with cache.hold(state.store_path) as tree:
        yield tree


def _state(installed: InstalledEnvironment, pin: str) -> EnvironmentState:
    return EnvironmentState(
        id="0" * 32,
        status="installed",
        requested_at_ms=0,
        created_at="",
        dependencies=Asked(packages=("python3",)),
        package_set=pin,
        system=SYSTEM,
        limits=DependenciesLimits(),
        store_path=installed.store_path,
        packages=tuple(installed.packages),
        size_bytes=installed.size_bytes,
    )


def _print_cached(console: Console, samples: Samples) -> None:
    rows = []
    for name, taken in samples.items():
        summary = Summary.of(taken)
        rows.append([name, milliseconds(summary.p50), milliseconds(summary.max)])
    title = f"a worker: an environment that is there (aim: it adds {CACHED_AIM_S * 1000:.0f} ms)"
    print_table(console, title, ["what", "p50", "max"], rows)


# -- from one host to another ----------------------------------------------------------------------


async def _copies(bench: Bench, rounds: int, package: str) -> Samples:
    wanted = Packages((package,))
    with bench.host(Has.TREES, sharing=True) as builder:
        installed = await bench.install(builder, wanted)

        async def fetch() -> float:
            with bench.host(Has.TREES, sharing=True) as cache:
                started = time.perf_counter()
                await cache.fetch(installed.store_path, installed.size_bytes, _agree)
                return time.perf_counter() - started

        return await interleaved(
            {
                f"publish {package}": partial(bench.timed_install, builder, wanted, again=True),
                f"fetch {package}": fetch,
            },
            rounds,
        )


async def _agree(_: str) -> bool:
    return True


def _print_copies(console: Console, samples: Samples) -> None:
    summaries = {name: Summary.of(taken) for name, taken in samples.items()}
    rows = [[name, milliseconds(s.p50), milliseconds(s.max)] for name, s in summaries.items()]
    title = f"through the binary cache, on a local disk (aim for {PYTHON}: fetched within {FETCH_AIM_S} s)"
    print_table(console, title, ["what", "p50", "max"], rows)


# -- the aims --------------------------------------------------------------------------------------


def aims(built: Samples, copied: Samples) -> list[list[str]]:
    """Return a line for each aim whose part was measured: its name, the aim, the median, `yes` or `no`."""
    found = [
        (key, aim_s, Summary.of(built[key]).p50, " s")
        for has in (Has.TREES, Has.ARCHIVES)
        for name, aim_s in TARGETS_S.items()
        if (key := f"{name}, {has}") in built
    ]
    if apt_s := built.get(first_builds.APT):
        for has in (Has.TREES, Has.ARCHIVES):
            ratio = Summary.of(built[f"{PYTHON}, {has}"]).p50 / Summary.of(apt_s).p50
            found.append((f"{PYTHON}, {has}, times apt-get", APT_AIM, ratio, ""))
    if fetched := copied.get(f"fetch {PYTHON}"):
        found.append((f"fetch {PYTHON}", FETCH_AIM_S, Summary.of(fetched).p50, " s"))
    return [
        [what, f"{aim:g}{unit}", f"{measured:.2f}{unit}", "yes" if measured <= aim else "no"]
        for what, aim, measured, unit in found
    ]
