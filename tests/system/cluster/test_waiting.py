"""Workers die while submissions wait for their dependencies."""

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from topics.kafka.scan import read_to_end

pytestmark = pytest.mark.xdist_group("disturbed cluster")


def leased(cluster: Cluster) -> set[bytes | None]:
    leases = read_to_end(cluster.kafka, cluster.topics.submissions.leases.name)
    return {message.key() for message in leases}


def test_waiters_of_a_dead_worker_are_handed_over(cluster: Cluster) -> None:
    with cluster.paused("cache-builder-0", "cache-builder-1"):  # so that it waits as long as we want
        id = cluster.submit({"run": "echo 6*7 | bc", "dependencies": {"packages": ["bc"]}})
        eventually(lambda: cluster.get(id)["status"] == "started", "a worker waits for them", ANSWER_S)
        worker = str(eventually(lambda: cluster.stored(id).worker, "the store knows which", ANSWER_S))
        # Before that, Kafka would redeliver the first attempt.
        eventually(lambda: id.encode() in leased(cluster), "the worker leases the attempt", ANSWER_S)
        instance = worker.split("-")[-2]
        cluster.kill(f"worker-{instance}")
        eventually(lambda: cluster.get(id)["attempt"] == 2, "the next attempt is made", ANSWER_S)
    answer = cluster.finished(id)
    assert (answer["outcome"], answer["run"][0]["stdout"], answer["attempt"]) == ("ok", "42\n", 2)
