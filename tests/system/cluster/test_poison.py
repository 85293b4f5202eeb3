"""A program that takes its worker with it is given up in the end, and nobody else is."""

import pytest

from tests.system.cluster.running import Cluster, eventually

pytestmark = pytest.mark.xdist_group("cluster")

ATTEMPTS = 3
"""What is allowed by default."""
COMMAND = ("sleep", "58.01")


def test_it_is_given_up_and_its_neighbours_are_not(cluster: Cluster) -> None:
    poison = cluster.submit({"run": ["sleep", "58.01"], "limits": {"run": {"wall_time_s": 60}}})
    neighbours = [cluster.submit({"run": f"sleep 1; echo {number}"}) for number in range(8)]
    for attempt in range(1, ATTEMPTS + 1):
        worker = eventually(lambda: cluster.worker_of(*COMMAND), f"attempt {attempt} runs", 120)
        killed = cluster.kill(worker)
        cluster.restarted(worker, killed)
        eventually(lambda: cluster.worker_of(*COMMAND) is None, "its program died with the worker", 60)
    answer = cluster.finished(poison)
    assert (answer["status"], answer["outcome"]) == ("finished", "internal_error")
    silent = "; ".join(f"attempt {n}: its worker was not heard of any more" for n in range(1, ATTEMPTS + 1))
    assert answer["error"] == f"given up: {silent}"
    for number, id in enumerate(neighbours):
        neighbour = cluster.finished(id)
        assert (neighbour["outcome"], neighbour["run"][0]["stdout"]) == ("ok", f"{number}\n"), neighbour
