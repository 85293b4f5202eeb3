"""What no worker can hold is refused with that reason; what another worker can hold is done there."""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from processors.sandbox import SandboxSettings
from tests.support.polling import at_least, eventually
from tests.support.roles import Process, role_environment, start_role
from tests.support.submissions import request
from tests.system.sandbox.conftest import settings as sandbox_settings
from topics.catalogue import catalogue
from topics.dependencies import facts as build_facts
from topics.dependencies.fold import apply as apply_to_dependencies
from topics.fold import Enqueue, Recorded
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, decode, decode_fact, encode
from topics.kafka.scan import read_to_end
from topics.leases import CapacityReport
from topics.request.limits import DependenciesLimits, MiB
from topics.request.model import Dependencies
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Finished, HandedBack, Started, SubmissionFact
from topics.submissions.fold import apply

settings = sandbox_settings
DEADLINE_S = 60.0
SMALL_BYTES, LARGE_BYTES = 64 * MiB, 512 * MiB


class Workers:
    """Real workers on a queue, with no store beside them."""

    def __init__(self, kafka: KafkaSettings, sandbox: SandboxSettings) -> None:
        self._kafka, self._sandbox, self._topics = kafka, sandbox, catalogue(kafka)
        ensure_topics(kafka, self._topics.topics())
        self._producer = EventProducer(kafka)
        self._processes: list[Process] = []

    def start(self, memory_bytes: int, role: str = "worker") -> None:
        number = len(self._processes)
        environment = role_environment(
            self._kafka,
            data_dir=self._kafka.data_dir / str(number),
            nix_root=self._sandbox.state_dir / "nix",
            sandbox_state_dir=self._sandbox.state_dir,
            sandbox_first_uid=self._sandbox.first_uid,
            sandbox_boxes=4,
            worker_slots=2,
            sandbox_total_memory_bytes=memory_bytes,
            grace_s=0,
        )
        self._processes.append(start_role(role, "--instance", str(number), environment=environment))

    def put(self, id: str, memory_bytes: int, partition: int = -1) -> None:
        body = f'{{"run": "true", "limits": {{"run": {{"memory_bytes": {memory_bytes}}}}}}}'.encode()
        [effect] = apply(None, Recorded(id, request(body, "http"), 0)).effects
        assert isinstance(effect, Enqueue)
        record = Record(self._topics.submissions.queue.name, id.encode(), encode(effect.work), [])
        self._producer.produce(record, partition=partition)

    def put_build(self, id: str, memory_bytes: int) -> None:
        wanted = build_facts.Requested(
            dependencies=Dependencies(packages=("bash",)),
            package_set="pin",
            system="x86_64-linux",
            limits=DependenciesLimits(memory_bytes=memory_bytes),
        )
        [effect] = apply_to_dependencies(None, Recorded(id, wanted, 0)).effects
        assert isinstance(effect, Enqueue)
        record = Record(self._topics.dependencies.queue.name, id.encode(), encode(effect.work), [])
        self._producer.produce(record)

    def facts_of_build(self) -> list[build_facts.DependenciesFact]:
        events = read_to_end(self._kafka, self._topics.dependencies.events.name)
        return [decode_fact(message, build_facts.FACTS).fact for message in events]

    def facts(self, id: str) -> list[SubmissionFact]:
        events = read_to_end(self._kafka, self._topics.submissions.events.name)
        facts = [decode_fact(message, FACTS) for message in events]
        return [each.fact for each in facts if each.id == id]

    def rooms(self) -> dict[str, CapacityReport]:
        slots = read_to_end(self._kafka, self._topics.submissions.slots.name)
        said = [decode(CapacityReport, message.value()) for message in slots]
        return {room.worker: room for room in said}

    def close(self) -> None:
        self._producer.close()
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(DEADLINE_S)


@pytest.fixture
def workers(kafka: str, topic_prefix: str, tmp_path: Path, settings: SandboxSettings) -> Iterator[Workers]:
    kafka_settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=2000, data_dir=tmp_path
    )
    workers = Workers(kafka_settings, settings)
    yield workers
    workers.close()


def test_what_is_too_large_for_a_worker(workers: Workers) -> None:
    workers.start(SMALL_BYTES)
    workers.put("refused", LARGE_BYTES)
    eventually(
        lambda: any(not isinstance(fact, Started) for fact in workers.facts("refused")), "it is refused"
    )
    facts = workers.facts("refused")
    assert [type(fact) for fact in facts if not isinstance(fact, Started)] == [Finished]
    end = facts[-1]
    assert isinstance(end, Finished)
    assert end.outcome == "internal_error"
    assert end.error == f"limits.run.memory_bytes = {LARGE_BYTES}: no worker has more than {SMALL_BYTES}"

    workers.start(LARGE_BYTES)
    eventually(lambda: [len(room.partitions) for room in workers.rooms().values()] == [2, 2], "shares")
    rooms = workers.rooms()
    of_small = rooms.pop(end.worker)
    [of_large] = rooms.values()
    for partition in of_small.partitions:
        workers.put(f"large-{partition}", LARGE_BYTES, partition)
    for partition in of_small.partitions:
        id = f"large-{partition}"
        eventually(partial(workers.facts, id), "it is started")
        [fact] = workers.facts(id)  # it waits for an environment, which nothing here builds
        assert isinstance(fact, Started)
        assert fact.worker == of_large.worker
    assert not any(isinstance(fact, HandedBack) for fact in workers.facts("refused"))


def test_a_build_that_is_too_large_for_a_cache_builder(workers: Workers) -> None:
    workers.start(SMALL_BYTES, "cache-builder")
    workers.put_build("refused", LARGE_BYTES)
    eventually(workers.facts_of_build, "the build is refused", enough=at_least(2))
    started, failed = workers.facts_of_build()
    assert isinstance(started, build_facts.Started)
    assert isinstance(failed, build_facts.Failed)
    assert failed.fault == "limit"
    wanted = f"limits.dependencies.memory_bytes = {LARGE_BYTES}"
    assert failed.explanation == f"{wanted}: this cache builder has no more than {SMALL_BYTES}"
