"""The broker answers nobody for a while: clients are told so, and what runs goes on."""

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import Cluster
from topics.kafka.codec import decode
from topics.kafka.scan import read_to_end
from topics.submissions.state import Submission

pytestmark = pytest.mark.xdist_group("disturbed cluster")

AWAY_S = 12.0
"""Longer than a lease may be silent, and longer than ingest waits for an acknowledgement."""


def test_nothing_accepted_is_lost_and_nobody_waits_for_ever(cluster: Cluster) -> None:
    work = cluster.submit({"run": "sleep 6.01; echo done"})
    eventually(lambda: cluster.worker_of("sleep", "6.01"), "it runs", 60)
    ours = {"run": f"echo {uuid.uuid4().hex}"}
    theirs = {"id": f"theirs-{uuid.uuid4().hex}", "run": "echo theirs"}
    waiting = {"run": "echo waited"}
    began = time.monotonic()
    with cluster.paused("broker-0"), ThreadPoolExecutor(3) as pool:
        posts = [pool.submit(cluster.post, request) for request in (ours, theirs)]
        posts.append(pool.submit(cluster.post, waiting, wait="true"))
        answers = [post.result(60) for post in posts]
        answered_s = time.monotonic() - began
        time.sleep(max(0.0, AWAY_S - answered_s))
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert answered_s < AWAY_S * 3
    named = [re.search(r"submission '(\S+)'", answer.json()["detail"]) for answer in answers]
    ids = [match[1] for match in named if match]
    assert len(ids) == 3
    assert ids[1] == theirs["id"]

    done = cluster.finished(work)
    assert (done["attempt"], done["run"][0]["stdout"]) == (1, "done\n")
    for id, request in zip(ids, (ours, theirs, waiting), strict=True):
        assert eventually(partial(_accepted, cluster, request | {"id": id}), "it is accepted", 60) == id
        assert cluster.finished(id)["outcome"] == "ok"
    messages = read_to_end(cluster.kafka, cluster.topics.submissions.store.name)
    stored = [decode(Submission, message.value()) for message in messages]
    assert {state.id for state in stored if state.request and state.request.run == ours["run"]} == {ids[0]}


def _accepted(cluster: Cluster, request: dict[str, str]) -> str | None:
    answer = cluster.post(request)
    assert answer.status_code in {202, 503}, answer.text
    return str(answer.json()["id"]) if answer.status_code == 202 else None
