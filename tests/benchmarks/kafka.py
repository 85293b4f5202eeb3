"""What the log carries: requests in, events through the folds, audits, restarts, and what ingest needs."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from infra.kafka.embedded import EmbeddedKafka
from infra.kafka.install import install_kafka
from infra.kafka.ports import choose_free_port
from infra.settings import LocalSettings
from tests.benchmarks import kafka_load as load
from tests.benchmarks.measuring import milliseconds, percentile, print_table, write_results
from tests.support.polling import eventually
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import consumer_config
from topics.kafka.codec import encode_fact
from topics.kafka.scan import read_to_end
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS
from topics.topic import Family

DEADLINE_S = 1800.0
AIM_EVENTS_PER_S = 20_000
"""Of `audit verify`, on one core."""
FIRST_UID = 1_930_000_000
READS, WARM_UP = 2000, 200
SETTLE_S = 3.0
"""What ingest does at its start is not what is measured."""


class Log:
    """A broker with all topics, and the roles that work on it."""

    def __init__(self, settings: KafkaSettings, folder: Path) -> None:
        self.settings, self.topics = settings, catalogue(settings)
        self.views = folder / "views"
        self.http_port = choose_free_port()
        self._reader = Consumer(consumer_config(settings, "bench"))
        ours = {
            "BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "DATA_DIR": folder,
            "NIX_ROOT": folder / "nix",
            "SANDBOX_STATE_DIR": folder / "sandboxes",
            "SANDBOX_FIRST_UID": FIRST_UID,
            "HTTP_PORT": self.http_port,
            "MAX_UNFINISHED": 10_000_000,
            "MAX_UNFINISHED_FROM_KAFKA": 10_000_000,
            "GRACE_S": 0,
            "LOG_LEVEL": "WARNING",
        }
        self._environment = {f"ENVICUTOR_{name}": str(value) for name, value in ours.items()}

    def close(self) -> None:
        """Let go of the connections."""
        self._reader.close()

    @contextmanager
    def role(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """The process of a role, or of another command; ended by SIGTERM."""
        command = [sys.executable, "-m", "infra.cli", *arguments]
        process = subprocess.Popen(command, env=os.environ | self._environment, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE_S)

    def end(self, topic: str) -> int:
        """How many records were appended to a topic of one partition."""
        return int(self._reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])

    def folded(self, family: Family) -> int:
        """How many events the store processor has committed."""
        group = Consumer(consumer_config(self.settings, family.store_group))
        try:
            [offset] = group.committed([TopicPartition(family.events.name, 0)], timeout=30)
            return max(0, offset.offset)
        finally:
            group.close()

    def missing(self) -> str:
        """What ingest says that it lacks."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/ready", timeout=5):
                return ""
        except urllib.error.HTTPError as error:
            return str(json.load(error)["detail"])
        except OSError:
            return "not ready: HTTP"

    def ingest_has_read(self) -> bool:
        """Whether ingest answers and has read all of the store."""
        return not {"HTTP", "the store"} & set(self.missing().removeprefix("not ready: ").split(":"))


def measure(submissions: int) -> None:
    """Everything, with so many submissions."""
    console = Console()
    with a_log() as log:
        rates = {"requests accepted from a direct producer": accepted(log, submissions)}
        load.produce(log.settings, load.answers(log.topics, submissions))
        load.produce(log.settings, load.environments(log.topics, submissions // 4))
        rates["events through the submission store"] = _fold(log, log.topics.submissions, "submission-store")
        _pop(log)
        rates["events through the build store"] = _fold(log, log.topics.dependencies, "build-store")
        audit = _audit(log)
        rates["events through audit verify"] = audit["events_per_s"]
        rates["the same, per second of CPU"] = audit["events_per_cpu_s"]
        restarts = _restarts(log)
        ingest = reads(log, submissions)
    rows = [[what, f"{rate:,.0f}"] for what, rate in rates.items()]
    print_table(console, f"per second, {submissions:,} submissions", ["", "1/s"], rows)
    console.print(f"aim: {AIM_EVENTS_PER_S:,} events/s of audit verify on one core")
    times = [[what, f"{seconds:.2f} s"] for what, seconds in restarts.items()]
    print_table(console, f"back after, with {submissions:,} submissions in the store", ["", "time"], times)
    _print_reads(console, submissions, ingest)
    found = {
        "submissions": submissions,
        "per_s": rates,
        "audit": audit,
        "restart_s": restarts,
        "ingest": ingest,
    }
    console.print(f"kept in {write_results('kafka', found)}")


def accepted(log: Log, count: int) -> float:
    """From the first request to the last Requested on the log."""
    with log.role("request-handler"):
        load.produce(log.settings, load.requests(log.topics, 1))  # it is up
        wait_until(lambda: log.end(log.topics.submissions.events.name) >= 1)
        started = time.monotonic()
        load.produce(log.settings, load.requests(log.topics, count))
        wait_until(lambda: log.end(log.topics.submissions.events.name) >= count + 1)
        return count / (time.monotonic() - started)


def _fold(log: Log, family: Family, role: str) -> float:
    """By the append times of the first and the last row."""
    events = log.end(family.events.name)
    with log.role(role):
        wait_until(lambda: log.folded(family) >= events)
    times_ms = [message.timestamp()[1] for message in read_to_end(log.settings, family.store.name)]
    return events * 1000 / max(1, times_ms[-1] - times_ms[0])


def _pop(log: Log) -> None:
    """As workers would have: what is answered is not on the queue any more."""
    family = log.topics.submissions
    group = Consumer(consumer_config(log.settings, family.work_group))
    popped = {
        message.partition(): message.offset() for message in read_to_end(log.settings, family.queue.name)
    }
    offsets = [TopicPartition(family.queue.name, p or 0, (at or 0) + 1) for p, at in popped.items()]
    if offsets:  # an attempt whose end is folded before its turn comes is not enqueued
        group.commit(offsets=offsets, asynchronous=False)
    group.close()


def _audit(log: Log) -> dict[str, float]:
    """The command, from its start to its end."""
    families = (log.topics.submissions, log.topics.dependencies)
    events = sum(log.end(family.events.name) for family in families)
    started, cpu_started = time.monotonic(), _cpu_of_children_s()
    with log.role("audit", "verify") as process:
        assert process.wait(DEADLINE_S) == 0, "the stores are not what the log says"
    wall_s, cpu_s = time.monotonic() - started, _cpu_of_children_s() - cpu_started
    return {"events": events, "events_per_s": events / wall_s, "events_per_cpu_s": events / cpu_s}


def _cpu_of_children_s() -> float:
    """Of those that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def _restarts(log: Log) -> dict[str, float]:
    """From the start of a process until it does its work."""
    found = {"store processor (has no local state)": _store_is_back(log)}
    _ingest_is_back(log)  # makes its view
    found["ingest, from local state"] = _ingest_is_back(log)
    found["worker, from local state"] = _worker_is_back(log, "first")
    shutil.rmtree(log.views)
    log.views.mkdir()
    found["ingest, from nothing"] = _ingest_is_back(log)
    found["worker, from nothing"] = _worker_is_back(log, "second")
    return found


def _store_is_back(log: Log) -> float:
    """Until it has folded a new event."""
    _ask(log, "restart")
    events = log.end(log.topics.submissions.events.name)
    started = time.monotonic()
    with log.role("submission-store"):
        wait_until(lambda: log.folded(log.topics.submissions) >= events)
        return time.monotonic() - started


def _ingest_is_back(log: Log) -> float:
    """Until it has read all of the store."""
    started = time.monotonic()
    with log.role("ingest"):
        wait_until(log.ingest_has_read)
        return time.monotonic() - started


def _worker_is_back(log: Log, id: str) -> float:
    """Until it says that it has started on a submission."""
    _ask(log, id)
    with log.role("submission-store"):
        events = log.end(log.topics.submissions.events.name)
        wait_until(lambda: log.folded(log.topics.submissions) >= events)
        started = time.monotonic()
        with log.role("worker"):
            wait_until(lambda: log.end(log.topics.submissions.events.name) > events)
            return time.monotonic() - started


def reads(log: Log, submissions: int) -> dict[str, float]:
    """Of ingest with so many submissions: how soon it is ready, its memory, how long it takes to find one."""
    chance, ids = random.Random(submissions), load.ids(submissions)
    times_s, began = [], time.monotonic()
    with log.role("ingest") as process, httpx.Client(trust_env=False) as http:
        wait_until(log.ingest_has_read)
        ready_s = time.monotonic() - began
        time.sleep(SETTLE_S)
        for number in range(READS + WARM_UP):
            started = time.perf_counter()
            http.get(f"http://127.0.0.1:{log.http_port}/submissions/{chance.choice(ids)}").raise_for_status()
            if number >= WARM_UP:
                times_s.append(time.perf_counter() - started)
        resident = Path(f"/proc/{process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    return {
        "ready_s": ready_s,
        "resident_bytes": int(resident) * 1024,
        "get_p50_s": percentile(times_s, 0.5),
        "get_p99_s": percentile(times_s, 0.99),
    }


def _print_reads(console: Console, submissions: int, ingest: dict[str, float]) -> None:
    rows = [
        ["resident memory", f"{ingest['resident_bytes'] / MiB:.0f} MiB"],
        ["GET, p50", milliseconds(ingest["get_p50_s"])],
        ["GET, p99", milliseconds(ingest["get_p99_s"])],
    ]
    print_table(console, f"ingest, with {submissions:,} submissions in the store", ["", ""], rows)


def _ask(log: Log, id: str) -> None:
    request = make_requested(*parse_request(b'{"run": "true"}', 1024), "bench", source="http")
    load.produce(log.settings, [encode_fact(log.topics.submissions.events.name, id, request, FACTS, "bench")])


@contextmanager
def a_log() -> Iterator[Log]:
    """A fresh one, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-bench-"))
    folder.chmod(0o711)
    try:
        with EmbeddedKafka(folder / "kafka", install_kafka(LocalSettings().cache_dir)) as broker:
            settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, data_dir=folder)
            log = Log(settings, folder)
            ensure_topics(settings, log.topics.topics())
            load.produce(settings, [load.package_set(log.topics)])
            yield log
            log.close()
    finally:
        shutil.rmtree(folder)


def wait_until(condition: Callable[[], bool]) -> None:
    eventually(condition, "the log is processed", DEADLINE_S)
