"""What a user does, end to end: a submission with its own dependencies, to an answer."""

import json
import re
import time
import uuid
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Producer

from envicutor_client import Client
from envicutor_client.calls import dump
from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, NUMPY, Cluster

pytestmark = pytest.mark.xdist_group("cluster")


def test_python_with_numpy(cluster: Cluster) -> None:
    program = "import sys, numpy as np\nprint(np.array(sys.argv[1:], dtype=int).sum() + int(input()))"
    answer = cluster.answer(
        {
            "files": [{"name": "main.py", "content": program}],
            "dependencies": NUMPY,
            "run": 'python3 main.py "$@"',
            "test_cases": [
                {"input": "3\n", "args": ["1", "2"], "expected_output": "6"},
                {"input": "0\n", "args": ["4"], "expected_output": "5"},
                {"input": "x\n"},
            ],
        }
    )
    assert answer["status"] == "finished"
    assert answer["outcome"] == "run_failed"  # outranks the wrong output
    assert [run["passed"] for run in answer["run"]] == [True, False, None]
    assert answer["run"][0]["stdout"] == "6\n"
    assert answer["run"][0]["memory_bytes"] > 0
    assert "ValueError" in answer["run"][2]["stderr"]


def test_metrics_tell_prepared_sandboxes_from_others(cluster: Cluster) -> None:
    def stages(kind: str) -> float:
        found = re.search(
            rf"^envicutor_sandboxes_{kind} (\S+)$", cluster.http.get("/metrics").text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    cases = {"test_cases": [{"input": "1"}, {"input": "2"}]}
    assert cluster.answer({"run": "cat", **cases})["outcome"] == "ok"
    for kind in ("prepared", "unprepared"):  # workers publish them every 2 s
        eventually(partial(stages, kind), f"sandboxes are {kind}", ANSWER_S)


def test_an_expression_with_a_variable(cluster: Cluster) -> None:
    own = '(pkgs.writeTextDir "share/own" "no other test has this environment")'
    packages = f"packages = [ pkgs.perl {own} ]"
    expression = f'{{ pkgs ? import <pkgs> {{}} }}: pkgs.mkShell {{ {packages}; A = "nix"; B = "nix"; }}'
    id = cluster.submit(
        {
            "dependencies": {"nix": expression},
            "run": ["perl", "-e", 'print "$ENV{A} $ENV{B} @ARGV"'],
            "env": {"B": "mine"},
            "test_cases": [{"args": ["x"], "expected_output": "nix mine x"}],
        }
    )
    with Client(str(cluster.http.base_url)) as client:
        waits = [dump(event.data)["fact"] for event in client.events(id) if event.name == "waiting"]
    assert "building" in {wait["step"]["stage"] for wait in waits if wait.get("step")}
    answer = cluster.get(id)
    assert answer["outcome"] == "ok", answer


def test_dependencies_that_cannot_be(cluster: Cluster) -> None:
    unknown = cluster.answer({"run": "true", "dependencies": {"packages": ["pyhton3"]}})
    broken = cluster.answer({"run": "true", "dependencies": {"nix": "{ pkgs }: [ pkgs.bash"}})
    assert [unknown["outcome"], broken["outcome"]] == ["dependencies_failed"] * 2
    assert "pyhton3" in unknown["dependencies"]["explanation"]
    assert "syntax error" in broken["dependencies"]["explanation"]
    assert unknown["run"] == []


def test_compile_once_and_run_each_case_on_it(cluster: Cluster) -> None:
    answer = cluster.answer(
        {
            "compile": "echo built > result",
            "run": "cat result; echo changed > result",
            "test_cases": [{"expected_output": "built"}, {"expected_output": "built"}],
        }
    )
    assert answer["outcome"] == "ok", answer
    failed = cluster.answer({"compile": "echo no >&2; exit 3", "run": "true"})
    assert failed["outcome"] == "compile_failed"
    assert (failed["compile"]["exit_code"], failed["compile"]["stderr"], failed["run"]) == (3, "no\n", [])


def test_the_same_is_not_compiled_again(cluster: Cluster) -> None:
    stamp = "date +%s%N | tee stamp"
    request = {"files": [{"name": "mark", "content": uuid.uuid4().hex}], "compile": stamp, "run": "cat stamp"}
    first = cluster.answer(request)
    assert "cached" not in first["compile"]

    def cached() -> Any:  # it is kept after the answer is given
        answer = cluster.answer(request)
        return answer if answer["compile"].get("cached") else None

    again = eventually(cached, "the same is not compiled again", ANSWER_S)
    assert again["compile"]["wall_time_s"] > 0
    assert again["compile"]["stdout"] == again["run"][0]["stdout"]
    other = cluster.answer(request | {"env": {"A": "other"}})
    assert "cached" not in other["compile"]


def test_limits_are_named(cluster: Cluster) -> None:
    answer = cluster.answer({"run": "sleep 30", "limits": {"run": {"wall_time_s": 0.3}}})
    assert answer["outcome"] == "run_failed"
    assert answer["run"][0]["limit_exceeded"] == "wall_time_s"


def test_output_that_is_not_text(cluster: Cluster) -> None:
    answer = cluster.answer({"run": r"printf '\xff\x00'"})
    run = answer["run"][0]
    assert (run["encoding"], run["stdout"]) == ("base64", "/wA=")


def test_the_same_id(cluster: Cluster) -> None:
    id = f"test-{uuid.uuid4().hex}"
    first = cluster.post({"id": id, "run": "echo 1"})
    again = cluster.post({"run": "echo 1", "id": id})
    other = cluster.post({"id": id, "run": "echo 2"})
    assert [first.status_code, again.status_code, other.status_code] == [202, 202, 409]
    assert other.headers["content-type"] == "application/problem+json"
    assert cluster.finished(id)["run"][0]["stdout"] == "1\n"


def test_a_get_right_after_the_202(cluster: Cluster) -> None:
    for _ in range(20):
        answer = cluster.post({"run": "true"})
        assert answer.status_code == 202
        assert cluster.http.get(answer.headers["location"]).status_code == 200


def test_bad_requests_name_field_and_limit(cluster: Cluster) -> None:
    answer = cluster.post({"run": "true", "limits": {"run": {"cpus": 3}}})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "limits.run.cpus", "message": answer.json()["errors"][0]["message"], "limit": 2}
    ]
    json_type = {"content-type": "application/json"}
    assert cluster.http.post("/submissions", content=b"{", headers=json_type).status_code == 400
    assert cluster.http.post("/submissions", content=b" " * 1_100_000, headers=json_type).status_code == 413
    assert (
        cluster.http.post("/submissions", content=b"{}", headers={"content-type": "text/csv"}).status_code
        == 415
    )
    assert cluster.http.get("/submissions/none").status_code == 404


def test_cancel(cluster: Cluster) -> None:
    id = cluster.submit({"run": "sleep 50", "limits": {"run": {"wall_time_s": 60}}})
    eventually(lambda: cluster.get(id)["status"] != "queued", "it is started", ANSWER_S)
    started = time.monotonic()
    assert cluster.http.delete(f"/submissions/{id}").json()["status"] == "cancelled"
    assert cluster.http.delete(f"/submissions/{id}").json()["status"] == "cancelled"
    finished = cluster.answer({"run": "true"})["id"]
    assert cluster.http.delete(f"/submissions/{finished}").status_code == 409
    assert time.monotonic() - started < 45  # the program itself would have slept on


def test_a_foreign_producer(cluster: Cluster) -> None:
    id, bad = (f"kafka-{uuid.uuid4().hex}" for _ in range(2))
    producer = Producer({"bootstrap.servers": cluster.kafka.bootstrap_servers})
    producer.produce("submissions.requests", json.dumps({"run": "echo from kafka"}), id)
    producer.produce("submissions.requests", b'{"run": 3}', bad)
    producer.flush(10)

    def found(which: str) -> bool:
        return cluster.http.get(f"/submissions/{which}").status_code == 200

    eventually(lambda: found(id) and found(bad), "both are known", ANSWER_S)
    assert cluster.finished(id)["run"][0]["stdout"] == "from kafka\n"
    rejected = cluster.finished(bad)
    assert (rejected["status"], rejected["errors"][0]["field"]) == ("rejected", "run")


def test_documentation_needs_no_internet(cluster: Cluster) -> None:
    page = cluster.http.get("/docs").text
    assert "https://" not in page
    assert "SubmissionRequest" in cluster.http.get("/openapi.json").json()["components"]["schemas"]


def test_a_setting_allows_more_than_the_default_ceilings(cluster: Cluster) -> None:
    limits = {"run": {"memory_bytes": 3 << 30, "cpu_time_s": 100}, "compile": {"wall_time_s": 100}}
    answer = cluster.answer({"compile": "true", "run": "ulimit -t", "limits": limits})
    assert (answer["outcome"], int(answer["run"][0]["stdout"]) >= 100) == ("ok", True)
    refused = cluster.post({"run": "true", "limits": {"run": {"memory_bytes": 4 << 30}}})
    assert [error["limit"] for error in refused.json()["errors"]] == [3 << 30]
    schemas = cluster.http.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["RunLimits"]["properties"]["memory_bytes"]["maximum"] == 3 << 30
