"""A client whose server is killed again and again gets each answer once."""

import os
import uuid

import pytest

from envicutor_client import Client
from envicutor_client.models import EventPayload
from tests.system.cluster.running import ANSWER_S, Cluster

pytestmark = pytest.mark.xdist_group("disturbed cluster")

RUNS = int(os.environ.get("CLIENT_RUNS", "100"))
KILLS = {RUNS // 4, RUNS // 2, RUNS * 3 // 4}


@pytest.mark.timeout(300 + RUNS)
def test_each_run_is_answered_once(cluster: Cluster) -> None:
    ids = [f"run-{uuid.uuid4().hex}" for _ in range(RUNS)]
    requests = [{"id": id, "run": f"echo {id}"} for id in ids]
    retries: list[str] = []
    with Client(str(cluster.http.base_url), retry_s=ANSWER_S, on_retry=retries.append) as client:
        results = client.run_many(requests, concurrency=8, timeout_s=ANSWER_S)
        for number, (id, result) in enumerate(zip(ids, results, strict=True)):
            assert (result.id, result.ok, result.stdout) == (id, True, f"{id}\n")
            if number in KILLS:
                cluster.restarted("ingest-0", cluster.kill("ingest-0"))
        assert retries
        for id in ids:
            assert accepted(client, id) == ["requested", "finished"]


def accepted(client: Client, id: str) -> list[str]:
    """The first and the last of the facts that changed a submission, and any that came twice."""
    facts = [
        event.name
        for event in client.events(id)
        if isinstance(event.data, EventPayload) and event.data.refused is None
    ]
    return [name for name in facts if name in {"requested", "finished"}]
