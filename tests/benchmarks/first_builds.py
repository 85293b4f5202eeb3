"""First builds of environments, by what their host had before, and beside apt-get."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from infra.demo import load_examples, runnable
from nix.cache import Cache
from nix.dependencies import Dependencies, Packages, from_json
from nix.settings import NixSettings
from processors.build_turns import LEAST_EVALUATIONS, BuildTurns
from processors.sandbox.cgroups.share import processors
from tests.benchmarks.apt import Apt
from tests.benchmarks.hosts import Bench, Has
from tests.benchmarks.measuring import Samples, Summary, interleaved
from topics.dependencies import dependencies_id
from topics.request.parsing import parse_request
from topics.submissions.acceptance import SYSTEM

PYTHON, DEMO = "python3", "the demo's examples, side by side"
NUMPY = "python3 + numpy, after python3"
APT, APT_ITSELF = "python3, apt-get", "python3, apt-get itself"
"""An installation by apt-get, with and without the base packages' files that were unpacked before."""
TARGETS_S = {PYTHON: 1.2, NUMPY: 0.8, "gcc": 2.5, "nodejs": 1.5, "jdk17_headless": 3.0, DEMO: 30.0}
"""Aims on 2 quiet CPUs without downloads, in seconds."""
PACKAGES = (PYTHON, "gcc", "nodejs", "jdk17_headless")
"""Packages that are built by default; gcc brings g++."""


@dataclass(frozen=True, slots=True)
class Row:
    """Environments that are built side by side on a host of their own."""

    name: str
    wanted: Sequence[Dependencies]
    before: Sequence[Dependencies] = ()
    """Environments that the host builds before, unmeasured."""
    downloads: bool = False
    """Whether the builds are measured once with downloads as well."""


def rows(packages: Sequence[str], pin: str) -> list[Row]:
    """Return a row for each package; without packages, all rows."""
    own = [Row(name, (Packages((name,)),), downloads=True) for name in packages or PACKAGES]
    if packages:
        return own
    python, numpy = Packages((PYTHON,)), Packages((PYTHON, "python3Packages.numpy"))
    return [
        own[0],
        Row(NUMPY, (numpy,), before=(python,)),
        *own[1:],
        Row(DEMO, environments_of_examples(pin)),
    ]


def environments_of_examples(pin: str) -> list[Dependencies]:
    """Return the environments of the demonstration's examples, each once, without those that cannot be built.

    Examples whose registry is not configured are left out, as in the demonstration.
    """
    found: dict[str, Dependencies] = {}
    for example in runnable(load_examples(), NixSettings()):
        if example.expected.outcome != "dependencies_failed":
            raw = json.dumps(example.request).encode()
            environment = parse_request(raw, len(raw))[0].environment
            id = dependencies_id(environment, pin, SYSTEM)
            found[id] = from_json(environment.model_dump(exclude_none=True))
    return list(found.values())


async def measure(bench: Bench, wanted: Sequence[Row], rounds: int, apt: Apt | None) -> Samples:
    """Return the seconds of each row by what its host had, as `NAME, HAS`, and those of apt-get for python3.

    All archives are downloaded and unpacked before, so that only the last builds download.
    """
    for row in wanted:
        for dependencies in row.wanted:
            await bench.warm(dependencies)
    samples: Samples = {}
    for row in wanted:
        variants = {
            f"{row.name}, {has}": partial(_timed, bench, row, has) for has in (Has.TREES, Has.ARCHIVES)
        }
        if apt and row.name == PYTHON:
            variants |= {APT: partial(_timed_apt, apt)}
        samples |= await interleaved(variants, rounds)
    if apt:
        taken = zip(samples[APT], apt.extracting_s, strict=True)
        samples[APT_ITSELF] = [seconds - extracting for seconds, extracting in taken]
    for row in wanted:
        if row.downloads:
            samples[f"{row.name}, {Has.NOTHING}"] = [await _timed(bench, row, Has.NOTHING)]
    return samples


async def _timed(bench: Bench, row: Row, has: Has) -> float:
    with bench.host(has) as cache:
        for dependencies in row.before:
            await bench.install(cache, dependencies)
        return await _side_by_side(bench, cache, row.wanted)


async def _timed_apt(apt: Apt) -> float:
    return await asyncio.to_thread(apt.install)


async def _side_by_side(bench: Bench, cache: Cache, wanted: Sequence[Dependencies]) -> float:
    turns = BuildTurns(builds=processors(), evaluations=LEAST_EVALUATIONS).of("demonstration")
    started = time.perf_counter()
    async with asyncio.TaskGroup() as builds:
        for dependencies in wanted:
            builds.create_task(bench.install(cache, dependencies, turns=turns))
    return time.perf_counter() - started


def table(samples: Samples, wanted: Sequence[Row]) -> list[list[str]]:
    """Return a line of each row: medians and maxima in seconds, beside the aim."""
    lines = []
    for row in wanted:
        cells = [row.name]
        for has in (Has.TREES, Has.ARCHIVES):
            summary = Summary.of(samples[f"{row.name}, {has}"])
            cells += [f"{summary.p50:.2f} s", f"{summary.max:.2f} s"]
        aim_s, once = TARGETS_S.get(row.name), samples.get(f"{row.name}, {Has.NOTHING}")
        cells += [f"{aim_s} s" if aim_s else "", f"{once[0]:.1f} s" if once else ""]
        lines.append(cells)
    return lines


def beside_apt(samples: Samples) -> list[list[str]]:
    """Return a line for each way to install python3: seconds, and their ratio to those of apt-get."""
    usual_s = Summary.of(samples[APT]).p50
    ways = [*(f"{PYTHON}, {has}" for has in (Has.TREES, Has.ARCHIVES)), APT, APT_ITSELF]
    summaries = [(way, Summary.of(samples[way])) for way in ways]
    return [[way, f"{s.p50:.2f} s", f"{s.max:.2f} s", f"{s.p50 / usual_s:.2f}"] for way, s in summaries]
