"""What the benchmark of the log produces: lives of submissions and of sets of dependencies."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice

from confluent_kafka import Producer

from topics.catalogue import Catalogue
from topics.dependencies import facts as dependencies
from topics.kafka.clients import producer_config
from topics.kafka.codec import Record, encode, encode_fact
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies
from topics.settings import KafkaSettings
from topics.submissions import facts as submissions
from topics.submissions.acceptance import SYSTEM
from topics.submissions.stage import DependenciesStage, RunStage
from topics.times import now
from topics.views.package_sets import DEBIAN, PackageSetInForce

SIDE_BY_SIDE = 64
"""Submissions whose events are mixed on the log, as if so many ran at a time."""
_PROGRAM = "import sys\nfor line in sys.stdin:\n    a, b = map(int, line.split())\n    print(a + b)\n"
_PACKAGES = ("python3", "python3-numpy")


def produce(settings: KafkaSettings, records: Iterable[Record]) -> None:
    """Send all, and wait until the broker has them."""
    producer = Producer(producer_config(settings, message_timeout_ms=300_000))
    for record in records:
        while True:
            try:
                producer.produce(record.topic, record.value, record.key, headers=record.headers)
                break
            except BufferError:  # the local queue is full: wait for room
                producer.poll(0.1)
    producer.flush()


def package_set(catalogue: Catalogue) -> Record:
    """Any one, which request handlers wait for."""
    in_force = PackageSetInForce(name=DEBIAN, pin="bench", index_digest="bench", created_at=now())
    return Record(catalogue.package_sets.name, DEBIAN.encode(), encode(in_force), [])


def ids(count: int) -> list[str]:
    """Of submissions."""
    return [f"bench-{number:07}" for number in range(count)]


def requests(catalogue: Catalogue, count: int) -> Iterator[Record]:
    """As another system would produce them."""
    request = {
        "files": [{"name": "main.py", "content": _PROGRAM}],
        "dependencies": {"packages": _PACKAGES},
        "run": ["python3", "main.py"],
        "test_cases": [{"input": "1 2\n", "expected_output": "3\n"}],
    }
    value = json.dumps(request).encode()
    return (Record(catalogue.requests.name, id.encode(), value, []) for id in ids(count))


def answers(catalogue: Catalogue, count: int) -> Iterator[Record]:
    """Started, DependenciesInstalled and Finished of each."""
    topic, worker = catalogue.submissions.events.name, "bench-0"
    installed = DependenciesStage(id="bench", cached=True, store_path="/nix/store/bench")
    run = RunStage(stdout="3\n", exit_code=0, wall_time_s=0.02, memory_bytes=9_000_000, passed=True)
    facts: tuple[submissions.SubmissionFact, ...] = (
        submissions.Started(attempt=1, worker=worker),
        submissions.DependenciesInstalled(attempt=1, worker=worker, dependencies=installed),
        submissions.Finished(
            attempt=1, worker=worker, outcome="ok", dependencies=installed, compile=None, run=(run,)
        ),
    )
    remaining = iter(ids(count))
    while some := list(islice(remaining, SIDE_BY_SIDE)):
        for fact in facts:
            yield from (encode_fact(topic, id, fact, submissions.FACTS, "worker/bench") for id in some)


def environments(catalogue: Catalogue, count: int) -> Iterator[Record]:
    """Requested, Started and Installed of each."""
    topic, builder = catalogue.dependencies.events.name, "bench-0"
    requested = dependencies.Requested(
        dependencies=Dependencies(packages=_PACKAGES),
        package_set="bench",
        system=SYSTEM,
        limits=DependenciesLimits(),
    )
    installed = dependencies.Installed(
        attempt=1,
        builder=builder,
        host="bench",
        store_path="/nix/store/bench",
        variables={},
        packages=_PACKAGES,
        size_bytes=1,
        wall_time_s=1.0,
    )
    facts = (requested, dependencies.Started(attempt=1, builder=builder), installed)
    for number in range(count):
        for fact in facts:
            yield encode_fact(topic, f"{number:032}", fact, dependencies.FACTS, "cache-builder/bench")
