"""From POST to answer, one at a time: beside the plain program and the bare sandbox, and hop by hop."""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Message
from rich.console import Console

from infra.bench.load import DATA_DIR, NO_OP, PROGRAM, PYTHON, Job, answer, settings, tree_of, warm_up
from infra.bench.measuring import Samples, interleaved, milliseconds, percentile, print_table, write_results
from infra.commands.output import say
from infra.local import LocalCluster
from processors.sandbox import Command, Rootfs, Sandboxes, SandboxSettings
from topics.catalogue import catalogue
from topics.codec import header
from topics.limits import RunLimits
from topics.reading import read_to_end

FIRST_UID = 1_930_000_000
WARM_UP = 200
"""Submissions of each kind before anything is measured: a fresh JVM is slow."""
PLAIN, SANDBOX, SUBMISSION, PIPELINE = "plain program", "bare sandbox", "submission", "pipeline alone"
HOPS = ("requested", "enqueued", "started", "dependencies_installed", "finished", "stored")
"""What stands on the log of each submission, in this order; `enqueued` and `stored` beside the events."""


def measure(rounds: int) -> None:
    """Measure, print, write."""
    console = Console(width=100)
    found = asyncio.run(_measure(rounds, console))
    say(f"wrote {write_results('answers', found)}")


async def _measure(rounds: int, console: Console) -> dict[str, Any]:
    async with LocalCluster(settings(), say) as cluster:
        say(f"warming up: {WARM_UP} submissions")
        tree = tree_of(settings(), await warm_up(cluster, WARM_UP))
        sandboxes = Sandboxes(SandboxSettings(state_dir=DATA_DIR / "sandboxes", first_uid=FIRST_UID))
        await sandboxes.start()
        ids: list[str] = []
        say(f"measuring: {rounds} rounds")
        try:
            async with httpx.AsyncClient(base_url=cluster.url, trust_env=False) as http:
                samples = await interleaved(
                    {
                        PLAIN: _plain,
                        SANDBOX: partial(_sandboxed, sandboxes, tree),
                        SUBMISSION: partial(_answered, http, PYTHON, ids),
                        PIPELINE: partial(_answered, http, NO_OP, []),
                    },
                    rounds,
                )
        finally:
            await sandboxes.close()
        hops = await asyncio.to_thread(_hops, cluster, ids)
    _print(console, samples)
    print_table(console, "hops, mean", ["until", "after the one before"], _hop_rows(hops))
    return {"seconds": samples, "hops_s": hops}


async def _plain() -> float:
    started = time.perf_counter()
    subprocess.run(PROGRAM, check=True, stdout=subprocess.DEVNULL)  # noqa: ASYNC221 - nothing else runs
    return time.perf_counter() - started


async def _sandboxed(sandboxes: Sandboxes, tree: Path) -> float:
    limits = RunLimits()
    started = time.perf_counter()
    async with sandboxes.box({}, limits) as box, box.fork(limits) as fork:
        done = await fork.run(Command(PROGRAM), Rootfs.of_environment(tree), limits)
        taken = time.perf_counter() - started
    if done.stdout != b"1\n":
        raise RuntimeError(f"unexpected end: {done}")
    return taken


async def _answered(http: httpx.AsyncClient, job: Job, ids: list[str]) -> float:
    started = time.perf_counter()
    ids.append((await answer(http, job))["id"])
    return time.perf_counter() - started


# -- hop by hop ------------------------------------------------------------------------------------


def _hops(cluster: LocalCluster, ids: Sequence[str]) -> list[dict[str, float]]:
    """Append times of each submission, in seconds after the first; the broker's clock, in milliseconds."""
    submissions = catalogue(cluster.kafka).submissions
    times: dict[bytes, dict[str, int]] = {id.encode(): {} for id in ids}
    for topic in (submissions.events, submissions.queue, submissions.store):
        for message in read_to_end(cluster.kafka, topic.name):
            key = message.key()
            if isinstance(key, bytes) and (seen := times.get(key)) is not None:
                seen[_hop(message)] = message.timestamp()[1]  # of the store: the last one
    return [
        {hop: (seen[hop] - seen["requested"]) / 1000 for hop in HOPS}
        for seen in times.values()
        if set(HOPS) <= set(seen)  # what was popped is deleted from the queue once a minute
    ]


def _hop(message: Message) -> str:
    """`envicutor.submission.started.v1` is `started`."""
    return (header(message, "ce_type") or "").split(".")[2]


def _hop_rows(hops: Sequence[dict[str, float]]) -> list[list[str]]:
    means = [statistics.mean(hop[name] for hop in hops) for name in HOPS] if hops else []
    return [
        [name, milliseconds(mean - before)]
        for name, before, mean in zip(HOPS[1:], means, means[1:], strict=False)
    ]


def _print(console: Console, samples: Samples) -> None:
    plain = statistics.median(samples[PLAIN])
    rows = [
        [
            name,
            milliseconds(statistics.median(taken)),
            milliseconds(percentile(taken, 0.99)),
            f"{statistics.median(taken) / plain:.2f}",
        ]
        for name, taken in samples.items()
    ]
    print_table(console, "answer time, one at a time", ["what", "p50", "p99", "p50 / plain"], rows)
