"""API keys on two nodes: what opens what, whose is whose, and how soon every node knows."""

import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from envicutor_client import Client, RequestRefusedError, UnavailableError
from tests.integration.http.nodes import Nodes, bearer, finished_at
from tests.integration.http.test_http import OF_PROXIES, problem
from tests.support.polling import eventually
from topics.kafka.scan import read_to_end
from topics.request.limits import MiB
from topics.security.api_keys import Quotas, Scope, new_id
from topics.submissions.stage import OutputFile, RunStage

pytestmark = pytest.mark.xdist_group("http")

KNOWN_WITHIN_S = 2.0
STREAMS = 3
OPEN = {"/health", "/ready", "/asyncapi.json"}


@pytest.fixture(scope="module")
def locked(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder: Path = tmp_path_factory.mktemp("locked")
    with Nodes(kafka, folder, http_keys=True, http_streams_per_key=STREAMS) as nodes:
        yield nodes


class User:
    """Somebody with a key, known at both nodes."""

    def __init__(self, nodes: Nodes, *scopes: Scope, **quotas: Any) -> None:
        self.id, self._clients = new_id(), nodes.clients
        given = scopes or (Scope.SUBMIT, Scope.READ)
        self.key = nodes.put_key(id=self.id, scopes=given, quotas=Quotas(**quotas))
        for node in range(len(nodes.clients)):
            eventually(partial(self._is_known, node), "the key is known")

    def _is_known(self, node: int) -> bool:
        return self.ask("GET", "/dependencies/0", node).status_code != 401

    def ask(self, method: str, path: str, node: int = 0, **arguments: Any) -> httpx.Response:
        headers = bearer(self.key) | arguments.pop("headers", {})
        return self._clients[node].request(method, path, headers=headers, **arguments)

    def submit(self, request: dict[str, Any], **arguments: Any) -> httpx.Response:
        return self.ask("POST", "/submissions", json=request, **arguments)

    def listed(self, **query: Any) -> list[dict[str, Any]]:
        return list(self.ask("GET", "/submissions", params=query).json()["submissions"])


@pytest.fixture(scope="module")
def alice(locked: Nodes) -> User:
    return User(locked)


@pytest.fixture(scope="module")
def bob(locked: Nodes) -> User:
    return User(locked)


# -- who is let in -----------------------------------------------------------------------------------


def test_what_a_proxy_passes_on_needs_a_key_like_any_request(locked: Nodes) -> None:
    user = User(locked)
    with httpx.Client(base_url=locked.clients[0].base_url, trust_env=False) as stranger:
        for header in OF_PROXIES:
            forwarded = {header: "192.0.2.1"}
            accepted = user.submit({"run": "true"}, headers=forwarded)
            assert accepted.status_code == httpx.codes.ACCEPTED, accepted.text
            refused = stranger.post("/submissions", json={"run": "true"}, headers=forwarded)
            problem(refused, 401, "unauthorized")


@pytest.mark.parametrize(
    "given", [{}, bearer("envicutor_wrong"), {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}]
)
def test_nobody_is_told_anything_without_a_key(locked: Nodes, given: dict[str, str]) -> None:
    url = locked.clients[0].base_url
    with httpx.Client(base_url=url, headers=given, trust_env=False) as stranger:
        document = stranger.get("/openapi.json").json()
        asked = 0
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                assert ("security" in operation) == (path not in OPEN), path
                if path not in OPEN:
                    answer = stranger.request(method, path.replace("{", "").replace("}", ""))
                    assert problem(answer, 401, "unauthorized")["errors"] == []
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert "401" in operation["responses"]
                    asked += 1
        assert asked > 8
        assert stranger.get("/health").status_code == 200
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"


def test_a_scope_opens_what_it_names(locked: Nodes) -> None:
    request = {"run": "true"}
    submits, reads, operates = (
        User(locked, Scope.SUBMIT),
        User(locked, Scope.READ),
        User(locked, Scope.OPERATE),
    )
    id = submits.submit(request).json()["id"]
    assert "submit" in problem(reads.submit(request), 403, "forbidden")["detail"]
    problem(reads.ask("POST", "/submissions/batch", json=[request]), 403, "forbidden")
    problem(submits.ask("GET", f"/submissions/{id}"), 403, "forbidden")
    problem(submits.ask("GET", "/submissions"), 403, "forbidden")
    problem(submits.ask("GET", "/metrics"), 403, "forbidden")
    assert operates.ask("GET", "/metrics").status_code == 200
    problem(operates.submit(request), 403, "forbidden")
    outline = operates.ask("DELETE", f"/submissions/{id}", node=1).json()
    assert outline["status"] == "cancelled"
    assert set(outline) == {"id", "status", "attempt", "created_at", "finished_at"}
    whole = submits.ask("DELETE", f"/submissions/{id}").json()
    assert {"run", "error"} <= set(whole), "it is one's own"


def test_every_node_knows_a_key_and_its_end_at_once(locked: Nodes) -> None:
    def both(key: str, path: str, status: int) -> bool:
        asked = (node.get(path, headers=bearer(key)) for node in locked.clients)
        return all(answer.status_code == status for answer in asked)

    def soon(key: str, path: str, status: int) -> None:
        begun_s = time.monotonic()
        eventually(partial(both, key, path, status), f"both answer {status}")
        assert time.monotonic() - begun_s < KNOWN_WITHIN_S

    node_a, node_b = locked.clients
    first = locked.command("keys", "create", "short-lived").strip()
    soon(first, "/submissions", 200)
    (listed,) = [line for line in locked.command("keys", "list").splitlines() if "short-lived" in line]
    key_id, state = listed.split()[:2]
    assert state == "active"
    id = node_a.post("/submissions", headers=bearer(first), json={"run": "true"}).json()["id"]

    second = locked.command("keys", "rotate", key_id).strip()
    soon(first, "/submissions", 401)
    soon(second, f"/submissions/{id}", 200)

    with node_b.stream("GET", f"/submissions/{id}/events", headers=bearer(second)) as events:
        lines = events.iter_lines()
        assert any("event: requested" in line for line in lines)
        locked.command("keys", "revoke", key_id)
        soon(second, "/submissions", 401)
        locked.start(id)
        assert not any("event:" in line for line in lines), "an open stream tells nothing more"
    assert locked.command("keys", "list").count(f"{key_id}  revoked") == 2


# -- whose is whose ----------------------------------------------------------------------------------


def test_what_another_submitted_is_not_there(locked: Nodes, alice: User, bob: User) -> None:
    tag = f"owner={uuid.uuid4().hex}"
    file = OutputFile(name="a.txt", size_bytes=1, media_type="text/plain", content="eA==")
    id = alice.submit({"run": "true", "tags": [tag]}).json()["id"]
    problem(bob.ask("DELETE", f"/submissions/{id}"), 404, "unknown-submission")
    locked.finish(id, RunStage(exit_code=0, outputs=(file,)))
    for node, client in enumerate(locked.clients):  # with all scopes
        eventually(partial(finished_at, client, id), "it is finished")
        for path in (f"/submissions/{id}", f"/submissions/{id}/events", f"/submissions/{id}/outputs/0/a.txt"):
            assert alice.ask("GET", path, node).status_code == 200
            assert client.get(path).status_code == 200
            told = problem(bob.ask("GET", path, node), 404, "unknown-submission")
            nobodys = bob.ask("GET", path.replace(id, "nobody"), node).text
            assert json.dumps(told).replace(id, "nobody") == json.dumps(json.loads(nobodys))
        (listed,) = eventually(partial(_listed, client, tag), "it is listed")
        assert (listed["id"], listed["owner"]) == (id, alice.id)
    mine = bob.submit({"run": "true", "tags": [tag]}).json()["id"]
    for user, ids in ((alice, [id]), (bob, [mine])):
        eventually(partial(user.listed, tag=tag), "their own are listed")
        assert [s["id"] for s in user.listed(tag=tag)] == ids
        assert {s["owner"] for s in user.listed()} == {user.id}
        assert {s["id"] for s in user.listed(status="queued", limit=1)} == set(ids) - {id}


def test_anothers_id_is_taken_and_no_more_is_said(alice: User, bob: User) -> None:
    id, request = f"shared-{uuid.uuid4().hex}", {"run": "echo secret"}
    assert alice.submit(request | {"id": id}).status_code == 202
    for content in (request, {"run": "echo other"}):
        told = problem(bob.submit(content | {"id": id}), 409, "conflict")
        assert told["detail"] == f"the id {id!r} is taken: choose another one"
    batch = bob.ask("POST", "/submissions/batch", json=[request | {"id": id}]).json()["results"]
    assert (batch[0]["status"], batch[0]["problem"]["detail"]) == (409, told["detail"])
    assert alice.submit(request | {"id": id}).status_code == 202
    assert "other content" in problem(alice.submit({"run": "x", "id": id}), 409, "conflict")["detail"]

    key = {"Idempotency-Key": "homework 1"}
    first, again, others = (user.submit(request, headers=key).json()["id"] for user in (alice, alice, bob))
    assert first == again != others
    told = problem(alice.submit({"run": "x"}, headers=key), 409, "conflict")
    assert told["detail"].startswith("the Idempotency-Key 'homework 1' was used before")

    alice.ask("DELETE", f"/submissions/{id}")
    story = alice.ask("GET", f"/submissions/{id}/events").text
    assert story.count("event: requested") == 6
    assert bob.id not in story
    assert alice.id in story


def made_before_of(key: str, owner: str) -> str:
    """The id that earlier versions made of an `Idempotency-Key`, as everybody can."""
    return str(uuid.uuid5(uuid.UUID("6f1c9d8e-5c0b-5d0e-9b6e-2f5a5f8d7a11"), f"{owner}\0{key}"))


def test_nobody_takes_anothers_idempotency_key(alice: User, bob: User) -> None:
    request, key = {"run": "true"}, f"homework {uuid.uuid4().hex}"
    assert bob.submit(request | {"id": made_before_of(key, alice.id)}).status_code == 202
    first = alice.submit(request, headers={"Idempotency-Key": key})
    assert first.status_code == 202, first.text
    assert alice.submit(request, headers={"Idempotency-Key": key}).json()["id"] == first.json()["id"]
    copied = bob.submit(request | {"id": first.json()["id"]})
    assert problem(copied, 422, "invalid-request")["errors"][0]["field"] == "id"


def test_an_idempotency_key_of_an_earlier_version_is_the_same_submission(alice: User) -> None:
    request, key = {"run": "true"}, f"homework {uuid.uuid4().hex}"
    before = made_before_of(key, alice.id)
    assert alice.submit(request | {"id": before}).status_code == 202
    headers = {"Idempotency-Key": key}
    assert alice.submit(request, headers=headers).json()["id"] == before
    problem(alice.submit({"run": "false"}, headers=headers), 409, "conflict")


# -- how much ----------------------------------------------------------------------------------------


def test_a_key_has_a_bounded_number_of_event_streams(locked: Nodes, alice: User) -> None:
    user = User(locked)
    id = user.submit({"run": "true"}).json()["id"]
    node, path = locked.clients[0], f"/submissions/{id}/events"
    with ExitStack() as stack:
        for _ in range(STREAMS):
            opened = stack.enter_context(node.stream("GET", path, headers=bearer(user.key)))
            assert opened.status_code == 200
        with node.stream("GET", path, headers=bearer(user.key)) as one_more:
            assert one_more.status_code == 429
            one_more.read()
            told = problem(one_more, 429, "too-many-streams")
            assert "ENVICUTOR_HTTP_STREAMS_PER_KEY" in told["detail"]
            assert int(one_more.headers["Retry-After"]) > 0
        others = alice.submit({"run": "true"}).json()["id"]
        with node.stream("GET", f"/submissions/{others}/events", headers=bearer(alice.key)) as another:
            assert another.status_code == 200

    def is_open_again() -> bool:
        with node.stream("GET", path, headers=bearer(user.key)) as again:
            return again.status_code == 200

    eventually(is_open_again, "there is room again")


def test_a_rate_is_kept_to(locked: Nodes) -> None:
    user = User(locked, requests_per_s=0.1, burst=6)
    answers = [user.ask("GET", "/submissions", node=1) for _ in range(8)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    problem(refused, 429, "too-many-requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 10


def test_so_many_may_be_unfinished(locked: Nodes, bob: User) -> None:
    user = User(locked, unfinished=2)
    batch = user.ask("POST", "/submissions/batch", json=[{"run": "true"}] * 4).json()["results"]
    assert [item["status"] for item in batch] == [202, 202, 429, 429]
    refused = user.submit({"run": "true", "id": "third"})
    assert "quota: wait" in problem(refused, 429, "too-many-unfinished")["detail"]
    assert refused.headers["retry-after"] == "2"
    assert bob.submit({"run": "true"}).status_code == 202
    locked.finish(batch[0]["submission"]["id"])
    eventually(lambda: user.submit({"run": "true"}).status_code == 202, "there is room again")


def test_a_key_may_have_lower_ceilings(locked: Nodes, bob: User) -> None:
    user = User(locked, ceilings={"run.wall_time_s": 5, "run.memory_bytes": 512 * MiB})
    refused = problem(
        user.submit({"run": "true", "limits": {"run": {"wall_time_s": 6}}}), 422, "invalid-request"
    )
    assert refused["errors"] == [
        {
            "field": "limits.run.wall_time_s",
            "message": "must be at least 0.1 and at most 5 with this API key",
            "limit": 5,
        }
    ]
    id = user.submit({"run": "true"}).json()["id"]
    limits = user.ask("GET", f"/submissions/{id}/request").json()["limits"]
    assert (limits["run"]["wall_time_s"], limits["run"]["memory_bytes"]) == (5, 256 * MiB)
    assert bob.submit({"run": "true", "limits": {"run": {"wall_time_s": 6}}}).status_code == 202


# -- clients, and what nobody sees -------------------------------------------------------------------


def test_clients_and_commands_show_the_key(locked: Nodes, alice: User) -> None:
    url = str(locked.clients[0].base_url)
    with Client(url, alice.key) as client:
        id = client.submit({"run": "true"}).id
        locked.finish(id)
        assert [event.name for event in client.events(id)][-1] == "end"
    with Client(url) as client, pytest.raises(RequestRefusedError, match="API key is needed"):
        client.get(id)
    assert id in locked.command("show", id, "--server", url, KEY=alice.key)
    slow = User(locked, requests_per_s=0.001, burst=1)
    with Client(url, slow.key) as client, pytest.raises(UnavailableError, match="slow down"):
        client.get(id)


def test_the_key_itself_stands_nowhere(locked: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = locked.command("keys", "create", "secretive", "--scope", "submit", "--scope", "read").strip()
    listed = locked.command("keys", "list", "--json")
    stored = map(json.loads, listed.splitlines())
    id = next(found["id"] for found in stored if found["name"] == "secretive")

    def submitted() -> bool:
        answer = locked.clients[0].post("/submissions", headers=bearer(key), json={"run": "true"})
        return answer.status_code == 202

    eventually(submitted, "the key is known")
    answer = locked.clients[0].get("/submissions/nobody", headers=bearer(key))
    problem(answer, 404, "unknown-submission")
    records = [
        repr((message.key(), message.value(), message.headers()))
        for topic in (locked.topics.api_keys, locked.topics.submissions.events)
        for message in read_to_end(locked.kafka, topic.name)
    ]
    assert any(id in record for record in records)
    assert "GET /submissions/{id}: 404" in caplog.text
    for text in (*records, caplog.text, listed):
        assert key not in text
        assert key.removeprefix("envicutor_") not in text


def _listed(client: httpx.Client, tag: str) -> list[Any]:
    found: list[Any] = client.get("/submissions", params={"tag": tag}).json()["submissions"]
    return found
