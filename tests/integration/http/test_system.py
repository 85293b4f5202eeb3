"""What `GET /system` tells is what happens on the log."""

import pytest

from envicutor_client import Client
from envicutor_client.models import System
from tests.integration.http.nodes import Nodes
from tests.support.polling import eventually

pytestmark = pytest.mark.xdist_group("http")


def test_the_system_as_it_is(nodes: Nodes) -> None:
    waiting, running = nodes.submit(), nodes.submit()
    nodes.start(running)
    for _ in range(3):
        nodes.finished(outcome="wrong_output")
    with Client(str(nodes.clients[0].base_url)) as client:

        def told() -> System | None:
            now = client.system()
            right = (
                now.waiting == len(list(client.list(status="queued"))) >= 1
                and now.running == len(list(client.list(status="started"))) >= 1
                and now.last_minute.outcomes.get("wrong_output", 0) >= 3
            )
            return now if right else None

        now = eventually(told, "it is told")
    assert now.unfinished["queued"] == now.waiting
    assert now.running_by_worker == {"w": now.running}
    assert now.running == now.unfinished["started"] == now.leases
    assert now.last_minute.queue_wait_s is not None
    assert now.last_minute.answer_s is not None
    assert 0 <= now.last_minute.answer_s.p50 <= now.last_minute.answer_s.p99 < 600
    nodes.finish(waiting)
    nodes.finish(running)
