"""Workers, each a process, on a real broker: what one does not do is done by another, and never lost."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.polling import eventually
from tests.support.roles import Process, role_environment
from topics.catalogue import catalogue
from topics.fold import Enqueue, Recorded
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, decode, decode_fact, encode
from topics.kafka.scan import read_to_end
from topics.leases import CapacityReport, Lease
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Finished, Started
from topics.submissions.fold import apply

DEADLINE_S = 60.0


class Cluster:
    """A queue, and workers of one slot whose programs sleep."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings, self.topics = settings, catalogue(settings)
        ensure_topics(settings, self.topics.topics())
        self._producer = EventProducer(settings)
        self._workers: list[Process] = []

    def start(self) -> Process:
        data_dir = self.settings.data_dir / str(len(self._workers))
        environment = role_environment(self.settings, data_dir=data_dir, lease_renewal_s=5)
        worker = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.sleeping"], env=environment)
        self._workers.append(worker)
        return worker

    def put(self, takes_s: float, *ids: str, partition: int = -1) -> None:
        body = f'{{"run": ["sleep", "{takes_s}"]}}'.encode()
        request = make_requested(*parse_request(body, MiB), "pin", source="http")
        for id in ids:
            [effect] = apply(None, Recorded(id, request, 0)).effects
            assert isinstance(effect, Enqueue)
            record = Record(self.topics.submissions.queue.name, id.encode(), encode(effect.work), [])
            self._producer.produce(record, partition=partition)

    def said(self, what: type[Started] | type[Finished]) -> dict[str, str]:
        """By whom, by id, in the order of the log."""
        events = read_to_end(self.settings, self.topics.submissions.events.name)
        facts = [decode_fact(message, FACTS) for message in events]
        return {each.id: each.fact.worker for each in facts if isinstance(each.fact, what)}

    def leases(self, id: str) -> list[tuple[str, str]]:
        """What workers said of it, in the order of the log."""
        messages = read_to_end(self.settings, self.topics.submissions.leases.name)
        said = [decode(Lease, message.value()) for message in messages]
        return [(lease.kind, lease.worker) for lease in said if lease.id == id and lease.kind != "renewed"]

    def rooms(self) -> dict[str, CapacityReport]:
        """What workers said last."""
        said = [
            decode(CapacityReport, m.value())
            for m in read_to_end(self.settings, self.topics.submissions.slots.name)
        ]
        return {room.worker: room for room in said}

    def two_workers(self) -> tuple[Process, CapacityReport, CapacityReport]:
        """The first, as a process and what it says, and what the second says."""
        first = self.start()
        self.put(0, "first")
        eventually(lambda: self.said(Finished), "the first worker")
        self.start()
        eventually(lambda: [len(room.partitions) for room in self.rooms().values()] == [2, 2], "shares")
        rooms = self.rooms()
        of_first = rooms.pop(self.said(Finished)["first"])
        [of_second] = rooms.values()
        return first, of_first, of_second

    def close(self) -> None:
        self._producer.close()
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            worker.wait(DEADLINE_S)


@pytest.fixture
def cluster(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(
        KafkaSettings(
            bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=2000, data_dir=tmp_path
        )
    )
    yield cluster
    with suppress(ProcessLookupError):
        cluster.close()


def test_what_waits_behind_a_long_job_is_done_by_another_and_kill_9_meanwhile_loses_nothing(
    cluster: Cluster,
) -> None:
    first, full, other = cluster.two_workers()
    cluster.put(2, "long", partition=full.partitions[0])
    eventually(lambda: "long" in cluster.said(Started), "the long job to begin")
    cluster.put(0.01, "a", "b", "c", partition=full.partitions[0])
    eventually(lambda: "long" in cluster.said(Finished), "the long job to end")
    ended = cluster.said(Finished)
    assert list(ended)[-1] == "long", "the others were before it"
    assert {ended.pop(id) for id in ("a", "b", "c")} == {other.worker}

    cluster.put(60, "endless", partition=full.partitions[1])
    eventually(lambda: "endless" in cluster.said(Started), "the endless job to begin")
    ids = [f"id-{number}" for number in range(80)]
    cluster.put(0.01, *ids, partition=full.partitions[0])
    eventually(lambda: set(ids) & cluster.said(Started).keys(), "some to be handed back")
    first.kill()
    handed_back = set(ids) & cluster.said(Finished).keys()
    assert len(handed_back) < len(ids), "others were still to be"
    eventually(lambda: set(ids) <= cluster.said(Finished).keys(), "all the rest")


def test_what_a_killed_worker_had_not_leased_is_given_to_another_and_leased(cluster: Cluster) -> None:
    first, of_first, other = cluster.two_workers()
    partition = of_first.partitions[0]
    cluster.put(0, "known", partition=partition)
    eventually(lambda: "known" in cluster.said(Finished), "the partition's first record")
    cluster.put(0.01, "short", partition=partition)
    eventually(lambda: "short" in cluster.said(Finished), "a short job")
    assert cluster.leases("short") == [], "over before a lease was due"

    cluster.put(4, "long", partition=partition)
    eventually(lambda: cluster.said(Started).get("long") == of_first.worker, "it to begin")
    first.kill()
    assert cluster.leases("long") == []
    eventually(lambda: "long" in cluster.said(Finished), "the other to end it")
    assert cluster.said(Finished)["long"] == other.worker
    eventually(lambda: len(cluster.leases("long")) == 2, "the release")
    assert cluster.leases("long") == [("taken", other.worker), ("released", other.worker)]
