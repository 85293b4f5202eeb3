"""How long environments take to build, to find again, and to come from another host."""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.commands.output import print_note
from nix.cache import BuildLimits, Cache, InstalledEnvironment
from nix.dependencies import Dependencies, Expression, Packages
from nix.package_set import refresh
from nix.settings import NixSettings
from processors.runner import SandboxRunner
from processors.sandbox import Command, Rootfs, Sandboxes, SandboxSettings
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

BUILD_S: Mapping[str, str] = {"python3": "1.4-1.9", "gcc": "6.3", "nodejs": "2.5", "jdk17_headless": "6.1"}
"""What is built, and the seconds that it took when the way to build was chosen, on 2 CPUs."""
CACHED_AIM_S = 0.001
"""What an environment that is there adds to a submission."""
FETCH_AIM_S = 1.0
"""For python3, 70 MiB in 4,000 files."""
LIMITS = RunLimits()


class Bench:
    """Hosts below one folder, which use the machine's pool of archives."""

    def __init__(self, folder: Path, sandboxes: Sandboxes) -> None:
        self._folder, self.sandboxes = folder, sandboxes
        self._runner = SandboxRunner(sandboxes)
        self._key_file = folder / "key"
        command = ["nix-store", "--generate-binary-cache-key", "bench", str(self._key_file), "/dev/stdout"]
        self._public_key = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        self.pin = refresh(NixSettings(), print_note).pin

    def host(self, *, sharing: bool = False) -> Cache:
        """A host with an empty Cache; one that shares publishes and fetches."""
        root = Path(tempfile.mkdtemp(prefix="host-", dir=self._folder))
        root.chmod(0o755)
        settings = NixSettings(
            nix_root=root,
            binary_cache_dir=self._folder / "binary-cache" if sharing else None,
            binary_cache_public_key=self._public_key,
            binary_cache_secret_key_file=self._key_file,
        )
        return Cache(settings, self._runner)

    async def install(
        self, cache: Cache, dependencies: Dependencies, *, again: bool = False
    ) -> InstalledEnvironment:
        """Whatever it takes."""
        return await cache.install(dependencies, self.pin, BuildLimits(), lambda _: None, again=again)


def measure(rounds: int, packages: Sequence[str]) -> None:
    """Measure everything, print it, write it."""
    console = Console(width=100)
    with own_settings() as settings, _folder() as folder:
        found = asyncio.run(_measure(settings, folder, rounds, packages, console))
    print_note(f"wrote {write_results('dependencies', found)}")


async def _measure(
    settings: SandboxSettings, folder: Path, rounds: int, packages: Sequence[str], console: Console
) -> dict[str, dict[str, Any]]:
    sandboxes = Sandboxes(settings)
    await sandboxes.start()
    try:
        bench = Bench(folder, sandboxes)
        print_note("building")
        built = await _builds(bench, rounds, packages)
        _print_builds(console, built, packages)
        print_note("finding what is there")
        cached = await _cached(bench, rounds * 50, packages[0])
        _print_cached(console, cached)
        print_note("from one host to another")
        copied = await _copies(bench, rounds, packages[0])
        _print_copies(console, copied)
    finally:
        await sandboxes.close()
    return {"builds_s": kept(built), "cached_s": kept(cached), "copies_s": kept(copied)}


# -- building --------------------------------------------------------------------------------------


async def _builds(bench: Bench, rounds: int, packages: Sequence[str]) -> Samples:
    """Each package into an empty Cache, beside those before it; then the same again, and otherwise spelt."""
    archives = bench.host()
    for name in packages:
        await bench.install(archives, Packages((name,)))  # so that the pool has them
    samples: Samples = {
        f"{name}, {how}": [] for name in packages for how in ("cold", "warm", "as expression")
    }
    for _ in range(rounds):
        cache = bench.host()
        for name in packages:
            spellings: dict[str, Dependencies] = {
                "cold": Packages((name,)),
                "warm": Packages((name,)),
                "as expression": Expression(f"{{ pkgs }}: [ pkgs.{name} ]"),
            }
            for how, dependencies in spellings.items():
                samples[f"{name}, {how}"].append(await _timed_install(bench, cache, dependencies))
    return samples


async def _timed_install(
    bench: Bench, cache: Cache, dependencies: Dependencies, *, again: bool = False
) -> float:
    started = time.perf_counter()
    await bench.install(cache, dependencies, again=again)
    return time.perf_counter() - started


def _print_builds(console: Console, samples: Samples, packages: Sequence[str]) -> None:
    rows = []
    for name in packages:
        cold, warm, other = (
            Summary.of(samples[f"{name}, {how}"]) for how in ("cold", "warm", "as expression")
        )
        seconds = f"{cold.p50:.1f} s", f"{cold.max:.1f} s", f"{BUILD_S.get(name, '?')} s"
        rows.append([name, *seconds, milliseconds(warm.p50), milliseconds(other.p50)])
    columns = ["environment", "built, p50", "max", "as first measured", "warm", "warm, as expression"]
    print_table(console, "the builder: archives in the pool, no environment there; then again", columns, rows)


# -- finding what is there -------------------------------------------------------------------------


async def _cached(bench: Bench, rounds: int, package: str) -> Samples:
    """What a worker does with dependencies that its view shows as installed."""
    cache = bench.host()
    installed = await bench.install(cache, Packages((package,)))
    row = encode(_state(installed, bench.pin))

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
    builder = bench.host(sharing=True)
    wanted = Packages((package,))
    installed = await bench.install(builder, wanted)

    async def fetch() -> float:
        cache = bench.host(sharing=True)
        started = time.perf_counter()
        await cache.fetch(installed.store_path, installed.size_bytes, _agree)
        return time.perf_counter() - started

    return await interleaved(
        {
            f"publish {package}": partial(_timed_install, bench, builder, wanted, again=True),
            f"fetch {package}": fetch,
        },
        rounds,
    )


async def _agree(_: str) -> bool:
    return True


def _print_copies(console: Console, samples: Samples) -> None:
    summaries = {name: Summary.of(taken) for name, taken in samples.items()}
    rows = [[name, milliseconds(s.p50), milliseconds(s.max)] for name, s in summaries.items()]
    title = f"through the binary cache, on a local disk (aim: fetched within {FETCH_AIM_S:.0f} s)"
    print_table(console, title, ["what", "p50", "max"], rows)


# -- helpers ---------------------------------------------------------------------------------------


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-bench-nix-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
