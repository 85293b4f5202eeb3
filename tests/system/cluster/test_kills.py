"""kill -9 of everything, with work in flight: all of it is answered, without any action of a client."""

import threading
from collections import Counter
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from topics.dependencies.facts import FACTS, Failed, Installed, Started
from topics.kafka.codec import decode_fact
from topics.kafka.scan import read_to_end

pytestmark = pytest.mark.xdist_group("disturbed cluster")


def short(number: int) -> dict[str, Any]:
    return {"run": f"sleep 0.05; echo {number}"}


def installs(cluster: Cluster) -> Counter[str]:
    """How often each set of dependencies was installed, by the log."""
    messages = read_to_end(cluster.kafka, cluster.topics.dependencies.events.name)
    facts = (decode_fact(message, FACTS) for message in messages)
    return Counter(recorded.id for recorded in facts if isinstance(recorded.fact, Installed))


def is_building(cluster: Cluster) -> bool:
    """Whether a build has begun and not ended, by the log."""
    building: set[str] = set()
    for message in read_to_end(cluster.kafka, cluster.topics.dependencies.events.name):
        recorded = decode_fact(message, FACTS)
        match recorded.fact:
            case Started():
                building.add(recorded.id)
            case Installed() | Failed():
                building.discard(recorded.id)
    return bool(building)


def all_answered(cluster: Cluster, ids: list[str]) -> None:
    for number, id in enumerate(ids):
        answer = cluster.finished(id)
        assert (answer["outcome"], answer["run"][0]["stdout"]) == ("ok", f"{number}\n"), answer


def test_submissions_that_share_new_dependencies_wait_for_one_build(cluster: Cluster) -> None:
    dependencies = {"packages": ["jq"]}
    ids = [cluster.submit({**short(number), "dependencies": dependencies}) for number in range(20)]
    all_answered(cluster, ids)
    environment = cluster.get(ids[0])["dependencies"]["id"]
    assert installs(cluster)[environment] == 1


def test_a_worker_with_work_in_flight(cluster: Cluster) -> None:
    ids = [cluster.submit({"run": f"sleep 1; echo {number}"}) for number in range(8)]
    eventually(lambda: cluster.get(ids[0])["status"] != "queued", "the first is started", ANSWER_S)
    killed = cluster.kill("worker-0")
    all_answered(cluster, ids)
    cluster.restarted("worker-0", killed)


def test_a_cache_builder_in_the_middle_of_a_build(cluster: Cluster) -> None:
    id = cluster.submit({**short(0), "dependencies": {"packages": ["ruby"]}})
    eventually(lambda: is_building(cluster), "it is being built", ANSWER_S)
    for name in ("cache-builder-0", "cache-builder-1"):
        cluster.kill(name)
    all_answered(cluster, [id])
    assert cluster.get(id)["attempt"] == 1  # who waits for a build is not disturbed by a builder's death


@pytest.mark.parametrize("role", ["submission-store-0", "build-store-0", "ingest-0", "request-handler-0"])
def test_a_process_under_load(cluster: Cluster, role: str) -> None:
    ids = [cluster.submit(short(number)) for number in range(10)]
    killed = cluster.kill(role)
    cluster.restarted(role, killed)
    eventually(cluster.is_ready, "it is ready again", ANSWER_S)
    all_answered(cluster, ids)


def test_requests_that_come_while_a_store_processor_is_away(cluster: Cluster) -> None:
    killed = cluster.kill("submission-store-0")
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(cluster.answer(short(7))))
    thread.start()
    cluster.restarted("submission-store-0", killed)
    thread.join(ANSWER_S)
    assert [answer["outcome"] for answer in answers] == ["ok"]


def test_a_health_checker(cluster: Cluster) -> None:
    ids = [cluster.submit({"run": f"sleep 1; echo {number}"}) for number in range(4)]
    killed = cluster.kill("health-checker-0")
    cluster.restarted("health-checker-0", killed)
    all_answered(cluster, ids)
    assert [cluster.get(id)["attempt"] for id in ids] == [1] * 4  # nobody was declared dead


def test_the_broker_with_submissions_queued(cluster: Cluster) -> None:
    ids = [cluster.submit(short(number)) for number in range(20)]
    killed = cluster.kill("broker-0")
    cluster.restarted("broker-0", killed)
    eventually(cluster.is_ready, "it is ready again", ANSWER_S)
    all_answered(cluster, ids)


def test_the_audit_is_clean_after_all_of_it(cluster: Cluster) -> None:
    audit = cluster.verify()
    assert audit.returncode == 0, audit.stdout + audit.stderr
