"""What was acknowledged at one node is known at every other one."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.http.nodes import Nodes

pytestmark = pytest.mark.xdist_group("http")


def test_a_submission_is_known_at_the_other_node_at_once(nodes: Nodes) -> None:
    for round in range(20):
        here, there = nodes.clients[round % 2], nodes.clients[1 - round % 2]
        id = here.post("/submissions", json={"run": "true"}).json()["id"]
        assert there.get(f"/submissions/{id}").status_code == 200
        assert there.get("/submissions/nobody").status_code == 404


def test_any_node_cancels_and_waits(nodes: Nodes) -> None:
    id = nodes.submit(node=0)
    assert nodes.clients[1].delete(f"/submissions/{id}").json()["status"] == "cancelled"
    assert nodes.clients[1].get(f"/submissions/{id}").json()["status"] == "cancelled"
    with nodes.clients[0].stream("GET", f"/submissions/{id}/events") as response:
        assert "event: cancelled" in response.read().decode()


def test_of_two_who_use_the_same_id_at_once_the_first_one_wins_everywhere(nodes: Nodes) -> None:
    for round in range(10):
        id = f"contested-{round}"
        with ThreadPoolExecutor() as threads:
            posted = threads.map(
                lambda node, contested=id: nodes.clients[node % 2].post(
                    "/submissions", json={"id": contested, "run": f"echo {node % 2}"}
                ),
                range(4),
            )
            answers = [(node % 2, answer.status_code) for node, answer in enumerate(posted)]
        (winner,) = {node for node, status in answers if status == 202}
        assert sorted(answers) == sorted([(winner, 202)] * 2 + [(1 - winner, 409)] * 2)
        for client in nodes.clients:
            assert client.get(f"/submissions/{id}/request").json()["run"] == f"echo {winner}"
            again = client.post("/submissions", json={"id": id, "run": f"echo {winner}"})
            assert again.status_code == 202
