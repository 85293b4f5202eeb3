"""Pinned packages, from a request over HTTP to the program that imports them, and back after an eviction."""

import json
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.support.registry import Registry
from tests.system.cluster.running import ANSWER_S, Cluster
from tests.system.cluster.test_dependencies import command

pytestmark = pytest.mark.xdist_group("cluster")

PINNED = {"pypi": ["Greeting==1.0"], "npm": ["@tests/greeting@1.0.0"]}
REQUEST = {
    "dependencies": PINNED,
    "files": [
        {"name": "main.py", "content": "import os, greeting\ngreeting.main()\n"},
        {"name": "main.js", "content": "console.log(require('@tests/greeting'))\n"},
        {"name": "main.mjs", "content": "import text from '@tests/greeting'\nconsole.log(text)\n"},
    ],
    "run": "python3 main.py && node main.js && node main.mjs && greet && greet-npm",
    "limits": {"run": {"wall_time_s": 30}},
}
PRINTED = "hello from a wheel\nhello from npm\nhello from npm\nhello from a wheel\nhello from npm\n"


def test_pinned_packages_are_imported_and_come_back_as_they_were(cluster: Cluster, served: Registry) -> None:
    first = cluster.answer(REQUEST)
    assert (first["outcome"], first["run"][0]["stdout"]) == ("ok", PRINTED), first
    id = first["dependencies"]["id"]

    def stored() -> dict[str, Any]:
        return dict(json.loads(command(cluster, "dependencies", "show", id).stdout))

    before = stored()
    assert [artifact["name"] for artifact in before["resolution"]] == [
        "greeting",
        "words",
        "@tests/greeting",
        "words",
    ]
    served.wheel("words", "2.0", {"words.py": "HELLO = 'newer'\n"})
    served.package("words", "1.9.0", {"index.js": "module.exports = 'newer'\n"})
    eventually(
        lambda: command(cluster, "dependencies", "evict", id).returncode == 0, "it is evicted", ANSWER_S
    )
    again = cluster.answer({**REQUEST, "dependencies": {**PINNED, "packages": []}})
    assert (again["outcome"], again["run"][0]["stdout"]) == ("ok", PRINTED), again
    assert (again["dependencies"]["id"], again["dependencies"]["cached"]) == (id, False)
    after = stored()
    assert after["generation"] == 2
    assert [after[name] for name in ("store_path", "resolution")] == [
        before[name] for name in ("store_path", "resolution")
    ]
    assert "greeting==1.0 @tests/greeting@1.0.0" in command(cluster, "dependencies", "list").stdout


def test_what_is_wrong_with_pins_is_told_and_remembered(cluster: Cluster) -> None:
    refused = cluster.post({"dependencies": {"npm": ["words@^1"]}, "run": "true"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "dependencies.npm"
    request = {"dependencies": {"pypi": ["nowhere==1.0"]}, "run": "true"}
    failed = cluster.answer(request)
    assert failed["outcome"] == "dependencies_failed"
    assert "nowhere: the index has no package of this name" in failed["dependencies"]["explanation"]
    state = cluster.http.get(f"/dependencies/{failed['dependencies']['id']}").json()
    assert (state["status"], state["fault"]) == ("failed", "theirs")
    cluster.answer(request)
    assert cluster.http.get(f"/dependencies/{state['id']}").json()["generation"] == 1


def test_a_version_that_is_left_open_is_resolved_when_the_request_is_accepted(cluster: Cluster) -> None:
    answer = cluster.answer({"run": "greet", "dependencies": {"pypi": ["greeting>=1"]}})
    assert answer["outcome"] == "ok"
    assert answer["run"][0]["stdout"].endswith("from a wheel\n")
    asked = cluster.http.get(f"/submissions/{answer['id']}/request").json()
    assert asked["dependencies"]["pypi"] == ["greeting==1.0"]
    refused = cluster.post({"run": "true", "dependencies": {"pypi": ["greeting>=2"]}})
    assert refused.status_code == 422
    assert "and only wheels are installed; it has 1.0" in refused.json()["errors"][0]["message"]
