"""How much more several workers do than one, and how long short programs wait behind long ones.

Workers whose programs only sleep (`sleeping.py`), with everything else as it is: a broker, the
store processor, the queue. Waiting is compared with one ideal queue that all slots share, to which the same
submissions come at the same moments.
"""

import heapq
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Message
from rich.console import Console

from infra.kafka.embedded import EmbeddedKafka
from infra.kafka.install import install_kafka
from infra.settings import LocalSettings
from tests.benchmarks.measuring import milliseconds, percentile, print_table, write_results
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import decode_fact, encode_fact, header
from topics.kafka.scan import read_to_end
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS

WORKERS = (1, 2, 4, 8)
"""Of one slot each, for the speed-up."""
AIM_SPEED_UP = (4, 3.8)
"""With so many workers, so many times what one does."""
JOB_S = 0.2
JOBS_PER_WORKER = 15

SHARING_WORKERS, SLOTS = 3, 4
SHORT_S, LONG_S, LONG_PART = 0.02, 2.0, 0.1
LOAD = 0.6
"""Of all slots."""
QUEUES = {"group": (), "bound": ("--bound",)}
"""Kinds of queue, with the options of their workers; `bound`: a group that hands nothing back, which is
measured only on request."""
AIM_WAIT = 4.0
"""p99 of short jobs with `group`, in times of the ideal."""
SLICE_S = 20.0
"""How long one kind of queue is measured before the next has its turn. All slots are busy seldom, and that is
when there is waiting: ideally 0.45 s at the p99 of a long time, and of two slices from seed 0 on."""
_ANSWER_S = 120.0
_MAX_REQUEST_BYTES = 1024


class Job(NamedTuple):
    """A program that sleeps."""

    at_s: float
    """After the beginning of its slice."""
    takes_s: float


class Waited(NamedTuple):
    """What became of one job; by the broker's clock."""

    enqueued_ms: int
    started_ms: int
    finished_ms: int


class Pipeline:
    """Topics of its own on the broker, a store processor, and workers that sleep."""

    def __init__(self, broker: EmbeddedKafka, folder: Path, name: str, stack: ExitStack) -> None:
        self.name, self._stack, self._count = name, stack, 0
        self.settings = KafkaSettings(
            bootstrap_servers=broker.bootstrap_servers,
            topic_prefix=f"{name}-",
            profile="cluster",  # more partitions of the queue than there are workers
            data_dir=folder / name,
        )
        self.settings.data_dir.mkdir()
        self._topics = catalogue(self.settings)
        ensure_topics(self.settings, self._topics.topics())
        self._producer = EventProducer(self.settings)
        stack.callback(self._producer.close)
        self._start("infra.cli", "submission-store")

    def work(self, workers: int, slots: int, *options: str) -> None:
        """Start so many more workers, and wait until each has had work."""
        for _ in range(workers):
            self._start("tests.benchmarks.sleeping", "--slots", str(slots), *options)
        expected, deadline = workers, time.monotonic() + _ANSWER_S
        before = self._workers()
        while len(self._workers() - before) < expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: not all workers work after {_ANSWER_S:g} s")
            self.finished([self.submit(SHORT_S) for _ in range(30)])

    def submit(self, takes_s: float) -> str:
        """Ask for a job; its id."""
        self._count += 1
        id = f"{self.name}-{self._count:06}"
        body = f'{{"run": ["sleep", "{takes_s}"]}}'.encode()
        request = make_requested(*parse_request(body, _MAX_REQUEST_BYTES), "bench", source="kafka")
        topic = self._topics.submissions.events.name
        self._producer.produce(encode_fact(topic, id, request, FACTS, "bench"))
        return id

    def finished(self, ids: Sequence[str]) -> list[Waited]:
        """Wait until all are, and say what became of each."""
        deadline = time.monotonic() + _ANSWER_S
        while True:
            times = self._times()
            found = [times[id] for id in ids]
            if all("finished" in each for each in found):
                return [Waited(each["enqueued"], each["started"], each["finished"]) for each in found]
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: not all jobs are finished after {_ANSWER_S:g} s")
            time.sleep(0.2)

    def _times(self) -> dict[str, dict[str, int]]:
        """When, by id and name of the fact, something happened first."""
        times: dict[str, dict[str, int]] = defaultdict(dict)
        for message in read_to_end(self.settings, self._topics.submissions.events.name):
            recorded = decode_fact(message, FACTS)
            name = recorded.fact.__class__.__name__.lower()
            times[recorded.id].setdefault(name, recorded.happened_ms)
        # The row that says `queued` is of the transaction that enqueued; the queue itself is trimmed.
        for message in read_to_end(self.settings, self._topics.submissions.store.name):
            times[_id(message)].setdefault("enqueued", message.timestamp()[1])
        return times

    def _workers(self) -> set[str]:
        events = read_to_end(self.settings, self._topics.submissions.events.name)
        sources = (header(message, "ce_source") or "" for message in events)
        return {source for source in sources if "/worker/" in source}

    def _start(self, *module_and_arguments: str) -> None:
        ours = {
            "BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "TOPIC_PREFIX": self.settings.topic_prefix,
            "PROFILE": self.settings.profile,
            "DATA_DIR": self.settings.data_dir,
            "LOG_LEVEL": "WARNING",
        }
        environment = os.environ | {f"ENVICUTOR_{name}": str(value) for name, value in ours.items()}
        process = subprocess.Popen([sys.executable, "-m", *module_and_arguments], env=environment)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)


def measure(rounds: int, seed: int, *, every: bool) -> None:
    """Measure, print, write."""
    console = Console(width=100)
    with _broker() as (broker, folder):
        speed = _speed_up(broker, folder)
        waits = _waits(broker, folder, [name for name in QUEUES if every or name == "group"], rounds, seed)
    _print_speed(console, speed)
    _print_waits(console, waits)
    found = {"seed": seed, "jobs_per_s": speed, "short_job_wait_s": waits}
    console.print(f"kept in {write_results('scale', found)}")


# -- speed-up --------------------------------------------------------------------------------------


def _speed_up(broker: EmbeddedKafka, folder: Path) -> dict[int, float]:
    """Jobs per second, by the number of workers, of as many as there are for each to do the same."""
    found: dict[int, float] = {}
    with ExitStack() as stack:
        pipeline = Pipeline(broker, folder, "speed", stack)
        for workers in WORKERS:
            pipeline.work(workers - max(found, default=0), slots=1)
            jobs = pipeline.finished([pipeline.submit(JOB_S) for _ in range(JOBS_PER_WORKER * workers)])
            took_ms = max(job.finished_ms for job in jobs) - min(job.enqueued_ms for job in jobs)
            found[workers] = len(jobs) * 1000 / took_ms
    return found


def _print_speed(console: Console, rates: dict[int, float]) -> None:
    rows = [
        [str(workers), f"{rate:.1f}", f"{1 / JOB_S * workers:.1f}", f"{rate / rates[1]:.2f}"]
        for workers, rate in rates.items()
    ]
    title = f"jobs that sleep for {JOB_S:g} s, one slot a worker"
    print_table(console, title, ["workers", "jobs/s", "at most", "speed-up"], rows)
    workers, aim = AIM_SPEED_UP
    console.print(f"aim: {aim} with {workers} workers")


# -- waiting ---------------------------------------------------------------------------------------


def _waits(
    broker: EmbeddedKafka, folder: Path, queues: Sequence[str], rounds: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds that short jobs waited, really and ideally, by kind of queue."""
    found: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        pipelines = [Pipeline(broker, folder, name, stack) for name in queues]
        for pipeline in pipelines:
            pipeline.work(SHARING_WORKERS, SLOTS, *QUEUES[pipeline.name])
            found[pipeline.name] = {"real": [], "ideal": []}
        for round in range(rounds):
            jobs = list(arrivals(random.Random(seed + round), SLICE_S))
            for pipeline in pipelines:
                waited = pipeline.finished(_submit(pipeline, jobs))
                ideal = ideal_waits(
                    [(done.enqueued_ms / 1000, job.takes_s) for done, job in zip(waited, jobs, strict=True)],
                    SHARING_WORKERS * SLOTS,
                )
                for job, done, ideally in zip(jobs, waited, ideal, strict=True):
                    if job.takes_s == SHORT_S:
                        real = (done.started_ms - done.enqueued_ms) / 1000
                        found[pipeline.name]["real"].append(real)
                        found[pipeline.name]["ideal"].append(ideally)
    return found


def arrivals(chance: random.Random, for_s: float) -> Iterator[Job]:
    """A Poisson process that loads all slots as `LOAD` says, for so long."""
    mean_s = SHORT_S * (1 - LONG_PART) + LONG_S * LONG_PART
    rate = LOAD * SHARING_WORKERS * SLOTS / mean_s
    at_s = chance.expovariate(rate)
    while at_s < for_s:
        yield Job(at_s, LONG_S if chance.random() < LONG_PART else SHORT_S)
        at_s += chance.expovariate(rate)


def ideal_waits(jobs: Sequence[tuple[float, float]], slots: int) -> list[float]:
    """How long each job, of a moment and a duration, would wait where any free slot takes the next one."""
    free_at = [float("-inf")] * slots
    waits = [0.0] * len(jobs)
    for number in sorted(range(len(jobs)), key=lambda number: jobs[number][0]):
        at_s, takes_s = jobs[number]
        begins = max(at_s, heapq.heappop(free_at))
        waits[number] = begins - at_s
        heapq.heappush(free_at, begins + takes_s)
    return waits


def _submit(pipeline: Pipeline, jobs: Sequence[Job]) -> list[str]:
    """Each when it is due."""
    began, ids = time.monotonic(), []
    for job in jobs:
        time.sleep(max(0.0, began + job.at_s - time.monotonic()))
        ids.append(pipeline.submit(job.takes_s))
    return ids


def _print_waits(console: Console, waits: dict[str, dict[str, list[float]]]) -> None:
    rows = []
    for name, of in waits.items():
        real, ideal = (percentile(of[which], 0.99) for which in ("real", "ideal"))
        shown = [milliseconds(percentile(of[which], part)) for which in of for part in (0.5, 0.99)]
        rows.append([name, str(len(of["real"])), *shown, f"{real / ideal:.1f}" if ideal else "-"])
    title = (
        f"wait of jobs of {SHORT_S:g} s, one in {1 / LONG_PART:.0f} being of {LONG_S:g} s, "
        f"{SHARING_WORKERS} workers of {SLOTS} slots, load {LOAD:.0%}"
    )
    columns = ["queue", "jobs", "p50", "p99", "ideal p50", "ideal p99", "p99 / ideal"]
    print_table(console, title, columns, rows)
    console.print(f"aim: group at most {AIM_WAIT:g}")


@contextmanager
def _broker() -> Iterator[tuple[EmbeddedKafka, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-bench-"))
    try:
        with EmbeddedKafka(folder / "kafka", install_kafka(LocalSettings().cache_dir)) as broker:
            yield broker, folder
    finally:
        shutil.rmtree(folder)


def _id(message: Message) -> str:
    key = message.key()
    return key.decode() if isinstance(key, bytes) else str(key)
