"""Files of earlier submissions, and many submissions by their ids."""

import base64
import uuid
from functools import partial
from typing import Any

import httpx
import pytest

from tests.integration.http.nodes import Nodes, finished_at
from tests.integration.http.test_hidden import locked, with_right  # noqa: F401 - a fixture
from tests.integration.http.test_http import problem
from tests.integration.http.test_keys import User
from tests.support.polling import eventually
from topics.request.limits import MiB
from topics.submissions.stage import OutputFile, RunStage

pytestmark = pytest.mark.xdist_group("http")


def output(name: str, content: bytes) -> OutputFile:
    encoded = base64.b64encode(content).decode()
    return OutputFile(name=name, size_bytes=len(content), media_type="a/b", content=encoded)


RUN = RunStage(exit_code=0, outputs=(output("a.txt", "ü".encode()), output("a.bin", b"\xff")))


def taking(id: str, name: str = "a.txt", case: int = 0) -> dict[str, Any]:
    origin = {"submission": id, "name": name, "case": case}
    return {"run": "true", "files": [{"name": "taken", "from": origin}]}


def content(client: httpx.Client, id: str) -> tuple[str, str]:
    (file,) = client.get(f"/submissions/{id}/request").json()["files"]
    return file["content"], file["encoding"]


def test_a_file_is_taken_at_any_node_as_soon_as_its_submission_has_ended(nodes: Nodes) -> None:
    source = nodes.submit()
    refused = problem(nodes.clients[1].post("/submissions", json=taking(source)), 422, "invalid-request")
    assert refused["errors"][0]["field"] == "files.0.from"
    assert "must have ended" in refused["errors"][0]["message"]
    nodes.finish(source, RUN)
    first = nodes.submit(taking(source), node=1)  # the node may not have folded the end yet
    assert content(nodes.clients[1], first) == ("ü", "utf8")
    request = nodes.clients[1].get(f"/submissions/{first}/request").json()
    assert request["files"][0]["from"] == {"submission": source, "case": 0, "name": "a.txt"}

    batch = [taking(source, "a.bin"), taking(source, "none"), taking("nobody")]
    results = nodes.clients[0].post("/submissions/batch", json=batch).json()["results"]
    assert [result["status"] for result in results] == [202, 422, 422]
    assert content(nodes.clients[0], results[0]["submission"]["id"]) == ("/w==", "base64")
    assert "no output file 'none'" in results[1]["problem"]["detail"]
    assert "there is no submission 'nobody'" in results[2]["problem"]["detail"]


def test_the_same_request_again_is_the_same_submission(nodes: Nodes, client: httpx.Client) -> None:
    source, id = nodes.finished({"run": "true"}, RUN), f"taking-{uuid.uuid4().hex}"
    for node in (0, 1, 0):
        answer = nodes.clients[node].post("/submissions", json=taking(source) | {"id": id})
        assert (answer.status_code, answer.json()["id"]) == (202, id)
    other = client.post("/submissions", json=taking(source, "a.bin") | {"id": id})
    problem(other, 409, "conflict")


def test_a_request_that_grows_too_large_is_refused(nodes: Nodes, client: httpx.Client) -> None:
    large = RunStage(exit_code=0, outputs=(output("large", b"x" * MiB),))
    source = nodes.finished({"run": "true"}, large)
    told = problem(client.post("/submissions", json=taking(source, "large")), 413, "too-large")
    assert (told["errors"][0]["field"], told["errors"][0]["limit"]) == ("files.0.from", MiB)


def test_a_file_belongs_to_its_owner_and_a_hidden_one_to_those_with_the_right(
    locked: Nodes,  # noqa: F811
) -> None:
    owner, other = User(locked), User(locked)
    source = owner.submit({"run": "true", "test_cases": [{}, {"hidden": True}]}).json()["id"]
    locked.finish(source, RUN, RUN)
    eventually(partial(finished_at, locked.clients[0], source), "it is finished")
    assert owner.submit(taking(source)).status_code == 202
    messages = [
        problem(user.submit(taking(id, case=case)), 422, "invalid-request")["errors"][0]["message"]
        for user, id, case in ((other, source, 0), (other, "nobody", 0), (owner, source, 1))
    ]
    assert messages[0] == messages[1].replace("nobody", source)
    assert messages[2] == f"'a.txt' of test case 1 of submission {source!r} is hidden from this API key"
    assert with_right(locked, owner).submit(taking(source, case=1)).status_code == 202
    # with all scopes, and the right to none of it
    assert locked.clients[0].post("/submissions", json=taking(source)).status_code == 422


# -- many by id --------------------------------------------------------------------------------------


def test_many_are_read_in_the_order_of_their_ids(nodes: Nodes) -> None:
    ids = [nodes.submit(), nodes.finished({"run": "true"}, RUN)]
    asked = [ids[1], "nobody", ids[0], ids[1]]
    for client in nodes.clients:
        answer = client.get("/submissions", params={"id": asked})
        assert answer.headers["content-type"] == "application/json"
        found = answer.json()
        assert found["next"] is None
        shown = [one and one["id"] for one in found["submissions"]]
        assert shown == [ids[1], None, ids[0], ids[1]]
        assert found["submissions"][0] == client.get(f"/submissions/{ids[1]}").json()
        some = client.get("/submissions", params={"id": asked, "fields": "status,outcome"}).json()
        assert some["submissions"][0] == {"status": "finished", "outcome": "ok"}


def test_what_another_submitted_is_null(locked: Nodes) -> None:  # noqa: F811
    owner, other = User(locked), User(locked)
    id = owner.submit({"run": "true"}).json()["id"]
    for user, is_there in ((owner, True), (other, False)):
        (found,) = user.ask("GET", f"/submissions?id={id}").json()["submissions"]
        assert (found is not None) == is_there


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("id=a&status=queued", "query.status", "cannot be combined with `id`"),
        ("id=a&limit=50", "query.limit", "cannot be combined with `id`"),
        ("fields=status", "query.fields", "needs `id`"),
        ("id=a&fields=nope", "query.fields", "there is no field 'nope'"),
        ("id=a.b", "query.id.0", "pattern"),
        ("&".join(["id=a"] * 101), "query.id", "at most 100"),
    ],
)
def test_what_does_not_go_together_is_refused(
    client: httpx.Client, query: str, field: str, message: str
) -> None:
    told = problem(client.get(f"/submissions?{query}"), 422, "invalid-parameters")
    assert told["errors"][0]["field"] == field
    assert message in told["errors"][0]["message"]


@pytest.fixture
def client(nodes: Nodes) -> httpx.Client:
    return nodes.clients[0]
