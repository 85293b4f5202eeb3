"""A request of the older file convention that an earlier release accepted and did not finish."""

import json
from collections.abc import Iterator

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.request.model import SubmissionRequest
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS

pytestmark = pytest.mark.xdist_group("cluster")

OLDER = {
    "shell.nix": '{ pkgs }: pkgs.mkShell { packages = [ ]; GREETING = "Hello"; }',
    "cutor-compile.sh": 'echo "$GREETING, older world" > greeting',
    "cutor-run.sh": 'cat greeting; echo "$1"',
}


@pytest.fixture
def producer(cluster: Cluster) -> Iterator[EventProducer]:
    producer = EventProducer(cluster.kafka)
    yield producer
    producer.close()


def test_it_runs_as_it_would_have_then(cluster: Cluster, producer: EventProducer) -> None:
    files = [{"name": name, "content": text} for name, text in OLDER.items()]
    body = json.dumps({"files": files, "test_cases": [{"args": ["one"]}]})
    older = SubmissionRequest.model_validate_json(body)
    package_set = cluster.stored(cluster.answer({"run": "true"})["id"]).package_set
    fact = make_requested(older.ordinary(), "hash", package_set, source="kafka").replace(request=older)
    topic = cluster.topics.submissions.events.name
    producer.produce(encode_fact(topic, "older", fact, FACTS, "test")).result(ANSWER_S)

    def known() -> bool:
        return cluster.http.get("/submissions/older").status_code == 200

    eventually(known, "it is stored", ANSWER_S)
    answer = cluster.finished("older")
    assert answer["outcome"] == "ok", answer
    assert answer["compile"]["exit_code"] == 0
    assert [run["stdout"] for run in answer["run"]] == ["Hello, older world\none\n"]
    assert cluster.http.get("/submissions/older/request").json()["run"] is None, "it is kept as it was sent"


def test_the_server_accepts_no_other_like_it(cluster: Cluster) -> None:
    answer = cluster.post({"files": [{"name": "cutor-run.sh", "content": "true"}]})
    assert answer.status_code == 422
    assert "give the script as `run`" in answer.text
