"""From POST to answer, one at a time: beside the plain program and the bare sandbox, and hop by hop."""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Message
from rich.console import Console

from infra.commands.output import print_note
from processors.sandbox import Command, Rootfs, Sandboxes, SandboxSettings
from tests.benchmarks import plot
from tests.benchmarks.http_load import Connection, answered, connections
from tests.benchmarks.load import (
    DATA_DIR,
    NO_OP,
    PROGRAM,
    PYTHON,
    BenchCluster,
    Job,
    settings,
    tree_of,
    warm_up,
)
from tests.benchmarks.measuring import (
    Samples,
    interleaved,
    milliseconds,
    percentile,
    print_table,
    write_plot,
    write_results,
)
from topics.catalogue import catalogue
from topics.kafka.codec import header
from topics.kafka.scan import read_to_end
from topics.request.limits import RunLimits

FIRST_UID = 1_930_000_000
WARM_UP = 200
"""Submissions of each kind before anything is measured: a fresh JVM is slow."""
PAUSE_S = 0.12
"""Longer than transactions wait for company, which would meet whatever is measured next."""
PLAIN, SANDBOX, SUBMISSION, PIPELINE = "plain program", "bare sandbox", "submission", "pipeline alone"
HOPS = (
    "requested",
    "enqueued",
    "popped",
    "box made",
    "program begun",
    "sandbox gone",
    "finished",
    "answered",
    "stored",
)
"""The way of a submission, nearly in this order: on the log, marked by the worker, seen by the client.

Nothing is waited for after `popped`; the program begins once its sandbox is made. Records of a transaction
are appended before it is committed, and read after. `stored` waits for company.
"""
PROGRAM_TIME = "of that the program"
ONE_IN = (2, 4, 10, 20, 50, 100)
"""What is drawn: the median, the slowest quarter, and so on."""


def measure(rounds: int) -> None:
    """Measure, print, write."""
    console = Console(width=100)
    found = asyncio.run(_measure(rounds, console))
    write_plot(
        "answers", plot.lines("ms to the answer", "one in so many takes longer", _curves(found["seconds"]))
    )
    print_note(f"wrote {write_results('answers', found)}")


async def _measure(rounds: int, console: Console) -> dict[str, Any]:
    async with BenchCluster() as cluster:
        print_note(f"warming up: {WARM_UP} submissions")
        tree = tree_of(settings(), await warm_up(cluster, WARM_UP))
        sandboxes = Sandboxes(SandboxSettings(state_dir=DATA_DIR / "sandboxes", first_uid=FIRST_UID))
        await sandboxes.start()
        noted: list[Answered] = []
        print_note(f"measuring: {rounds} rounds")
        try:
            async with connections(cluster.http_port, 1) as [connection]:
                samples = await interleaved(
                    {
                        PLAIN: _plain,
                        SANDBOX: partial(_sandboxed, sandboxes, tree),
                        SUBMISSION: partial(_answered, connection, PYTHON, noted),
                        PIPELINE: partial(_answered, connection, NO_OP, []),
                    },
                    rounds,
                    PAUSE_S,
                )
        finally:
            await sandboxes.close()
        hops = await asyncio.to_thread(_hops, cluster, noted)
    _print(console, samples)
    print_table(console, "hops, median", ["until", "after POST", "after the one before"], _hop_rows(hops))
    return {"seconds": samples, "hops_s": hops}


async def _plain() -> float:
    started = time.perf_counter()
    subprocess.run(PROGRAM, check=True, stdout=subprocess.DEVNULL)  # noqa: ASYNC221 - nothing else runs
    return time.perf_counter() - started


async def _sandboxed(sandboxes: Sandboxes, tree: Path) -> float:
    limits = RunLimits()
    started = time.perf_counter()
    async with sandboxes.box({}, limits) as box:
        box.make_room(limits)
        done = await box.run(Command(PROGRAM), Rootfs.of_environment(tree), limits)
        taken = time.perf_counter() - started
    if done.stdout != b"1\n":
        raise RuntimeError(f"unexpected end: {done}")
    return taken


class Answered(NamedTuple):
    """A submission, and when its client asked and was answered; seconds since the epoch."""

    id: str
    asked_s: float
    answered_s: float
    program_s: float
    """How long the program ran."""


async def _answered(connection: Connection, job: Job, to: list[Answered]) -> float:
    asked_s, started = time.time(), time.perf_counter()
    body = await answered(connection, job)
    taken = time.perf_counter() - started
    to.append(Answered(body["id"], asked_s, asked_s + taken, body["run"][0]["wall_time_s"]))
    return taken


# -- hop by hop ------------------------------------------------------------------------------------


def _hops(cluster: BenchCluster, noted: Sequence[Answered]) -> list[dict[str, float]]:
    """When each submission came how far, in seconds after its POST."""
    times = {one.id.encode(): _marked(cluster.marks, one) for one in noted}
    submissions = catalogue(cluster.kafka).submissions
    for topic in (submissions.events, submissions.queue, submissions.store):
        for message in read_to_end(cluster.kafka, topic.name):
            key = message.key()
            if isinstance(key, bytes) and (seen := times.get(key)) is not None:
                # The broker's clock is cut to milliseconds. Of the store: the last one.
                seen[_hop(message)] = message.timestamp()[1] / 1000 + 0.0005
    return [
        {hop: times[one.id.encode()][hop] - one.asked_s for hop in HOPS} | {PROGRAM_TIME: one.program_s}
        for one in noted
        if set(HOPS) <= set(times[one.id.encode()])  # what was popped is deleted once a minute
    ]


def _marked(marks: Path, one: Answered) -> dict[str, float]:
    """What the worker marked while nothing else ran."""
    lines = (line.split(" ", 1) for line in marks.read_text().splitlines())
    during = {what: float(at) for at, what in lines if one.asked_s <= float(at) <= one.answered_s}
    return during | {"answered": one.answered_s}


def _hop(message: Message) -> str:
    """`envicutor.submission.finished.v1` is `finished`."""
    return (header(message, "ce_type") or "").split(".")[2]


def _hop_rows(hops: Sequence[dict[str, float]]) -> list[list[str]]:
    if not hops:
        return []
    medians = {name: statistics.median(hop[name] for hop in hops) for name in (*HOPS, PROGRAM_TIME)}
    order = sorted(HOPS, key=medians.__getitem__)
    rows = [
        [name, milliseconds(medians[name]), milliseconds(medians[name] - before)]
        for name, before in zip(order, [0.0, *(medians[name] for name in order)], strict=False)
    ]
    at = order.index("sandbox gone") + 1
    return [*rows[:at], [PROGRAM_TIME, "", milliseconds(medians[PROGRAM_TIME])], *rows[at:]]


def _curves(samples: Samples) -> dict[str, plot.Curve]:
    """Milliseconds by percentile."""
    return {
        name: [(one_in, percentile(taken, 1 - 1 / one_in) * 1000) for one_in in ONE_IN]
        for name, taken in samples.items()
    }


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
