"""A program that takes its worker with it is given up in the end, and nobody else is."""

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import Cluster

pytestmark = pytest.mark.xdist_group("disturbed cluster")

ATTEMPTS = 3
"""What is allowed by default."""
COMMAND = ("sleep", "58.01")


def test_it_is_given_up_and_its_neighbours_are_not(cluster: Cluster) -> None:
    poison = cluster.submit({"run": ["sleep", "58.01"], "limits": {"run": {"wall_time_s": 60}}})
    neighbours = [cluster.submit({"run": f"sleep 1; echo {number}"}) for number in range(8)]
    kills = kill_whoever_runs(cluster, poison)
    assert ATTEMPTS <= kills <= ATTEMPTS + 1, "at first it runs without a lease, so that nobody is blamed"
    answer = cluster.finished(poison)
    assert (answer["status"], answer["outcome"]) == ("finished", "internal_error")
    silent = "; ".join(f"attempt {n}: its worker was not heard of any more" for n in range(1, ATTEMPTS + 1))
    assert answer["error"] == f"given up: {silent}"
    for number, id in enumerate(neighbours):
        neighbour = cluster.finished(id)
        assert (neighbour["outcome"], neighbour["run"][0]["stdout"]) == ("ok", f"{number}\n"), neighbour


def kill_whoever_runs(cluster: Cluster, poison: str) -> int:
    """Until it is given up; how often that was."""

    def runs_or_over() -> str | None:
        return "over" if cluster.get(poison)["status"] == "finished" else cluster.worker_of(*COMMAND)

    kills = 0
    while (worker := eventually(runs_or_over, "it runs again, or is given up", 120)) != "over":
        cluster.restarted(worker, cluster.kill(worker))
        kills += 1
        eventually(lambda: cluster.worker_of(*COMMAND) is None, "its program died with the worker", 60)
    return kills
