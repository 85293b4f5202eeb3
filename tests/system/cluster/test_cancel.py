"""Cancelling queued and running work, over HTTP and from Kafka, frees what it holds."""

import uuid
from collections.abc import Iterator

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, cloud_event
from topics.submissions.facts import CANCEL

pytestmark = pytest.mark.xdist_group("disturbed cluster")

PROMPT_S = 30.0
"""Well below the minute that the programs would take, far above what a cancellation takes."""
SLOTS = 4
"""Of the cluster."""


@pytest.fixture
def producer(cluster: Cluster) -> Iterator[EventProducer]:
    producer = EventProducer(cluster.kafka)
    yield producer
    producer.close()


def is_started(cluster: Cluster, id: str) -> bool:
    return bool(cluster.get(id)["status"] != "queued")


def test_queued_and_running(cluster: Cluster, producer: EventProducer) -> None:
    def cancel(id: str) -> None:
        headers = cloud_event(CANCEL, uuid.uuid4().hex, id, "test")
        producer.produce(Record(cluster.topics.requests.name, id, None, headers)).result(ANSWER_S)

    minute = {"run": "sleep 59", "limits": {"run": {"wall_time_s": 60}}}
    running = [cluster.submit(minute) for _ in range(SLOTS)]
    # The queue's partitions are a worker's own, so that a full one may be handed more while another is free.
    eventually(lambda: sum(is_started(cluster, id) for id in running) >= SLOTS // 2, "half run", ANSWER_S)
    queued = [cluster.submit(minute) for _ in range(SLOTS)]
    for id in queued[::2] + running[::2]:
        assert cluster.http.delete(f"/submissions/{id}").json()["status"] == "cancelled"
    for id in queued[1::2] + running[1::2]:
        cancel(id)
    for id in queued + running:
        assert cluster.finished(id, PROMPT_S)["status"] == "cancelled"
    # All slots are free again: as many run as there are, and they are not behind what was cancelled.
    quick = [cluster.submit({"run": "sleep 1; echo free"}) for _ in range(2 * SLOTS)]
    for id in quick:
        assert cluster.finished(id, PROMPT_S)["run"][0]["stdout"] == "free\n"


def test_what_was_finished_stays_so(cluster: Cluster, producer: EventProducer) -> None:
    finished = cluster.answer({"run": "echo done"})["id"]
    assert cluster.http.delete(f"/submissions/{finished}").status_code == 409
    headers = cloud_event(CANCEL, uuid.uuid4().hex, finished, "test")
    producer.produce(Record(cluster.topics.requests.name, finished, None, headers)).result(ANSWER_S)
    cluster.answer({"run": "true"})
    assert cluster.get(finished)["status"] == "finished"
