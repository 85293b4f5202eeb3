"""What was acknowledged at one node is known at every other one."""

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
