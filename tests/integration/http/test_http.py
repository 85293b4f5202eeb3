"""HTTP as it is spoken: batches, parts, files, caching, limits, who may ask, what is told of it."""

import base64
import gzip
import json
import socket
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.server import HEAD_BYTES
from tests.integration.http.nodes import Nodes
from topics.submissions.stage import OutputFile, RunStage

pytestmark = pytest.mark.xdist_group("http")

PNG = b"\x89PNG\r\n\x1a\n...."


@pytest.fixture
def client(nodes: Nodes) -> httpx.Client:
    return nodes.clients[0]


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"].rsplit("/", 1)[1] == kind
    return body


# -- batches -----------------------------------------------------------------------------------------


def test_each_of_a_batch_is_judged_on_its_own(client: httpx.Client) -> None:
    id = f"batch-{uuid.uuid4().hex}"
    nowhere = {"run": "true", "callback_url": "http://127.0.0.1:9092/"}
    batch = [
        {"run": "true", "id": id},
        {"run": 3},
        "no",
        {"run": "true"},
        {"run": "false", "id": id},
        nowhere,
    ]
    answer = client.post("/submissions/batch", json=batch)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 422, 202, 409, 422]
    assert results[0]["submission"]["id"] == id
    assert results[1]["problem"]["errors"][0]["field"] == "run"
    assert results[5]["problem"]["errors"][0]["field"] == "callback_url"
    for result in results[:1] + results[3:4]:
        assert client.get(f"/submissions/{result['submission']['id']}").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{}", 422, "invalid-request"),
        (b"[]", 422, "invalid-request"),
        (b"[" + b"0," * 100 + b"0]", 422, "invalid-request"),
        (b"[", 400, "not-json"),
        (b"[" * 100_000, 400, "not-json"),
        (b" " * (4 * 1024 * 1024 + 1), 413, "too-large"),
    ],
    ids=["no array", "empty", "too many", "not JSON", "too deep", "too large"],
)
def test_what_is_no_batch(client: httpx.Client, body: bytes, status: int, kind: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem(client.post("/submissions/batch", content=body, headers=headers), status, kind)


def test_a_request_in_a_batch_is_the_same_as_alone(client: httpx.Client) -> None:
    request = {"run": "true", "id": f"same-{uuid.uuid4().hex}", "env": {"A": "ü€😀\x7f"}}
    [result] = client.post("/submissions/batch", json=[request]).json()["results"]
    assert (result["status"], client.post("/submissions", json=request).status_code) == (202, 202)


# -- idempotency -------------------------------------------------------------------------------------


def test_an_idempotency_key_is_one_submission_at_every_node(nodes: Nodes) -> None:
    headers = {"Idempotency-Key": f"key {uuid.uuid4().hex}"}
    answers = [client.post("/submissions", json={"run": "true"}, headers=headers) for client in nodes.clients]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = nodes.clients[0].post("/submissions", json={"run": "false"}, headers=headers)
    problem(other, 409, "conflict")


def test_nobody_else_chooses_the_id_of_an_idempotency_key(nodes: Nodes, client: httpx.Client) -> None:
    headers = {"Idempotency-Key": f"key {uuid.uuid4().hex}"}
    made = client.post("/submissions", json={"run": "true"}, headers=headers).json()["id"]
    other = f"{made[:-1]}{'a' if made[-1] != 'a' else 'b'}"
    told = problem(client.post("/submissions", json={"run": "true", "id": other}), 422, "invalid-request")
    assert told["errors"][0]["field"] == "id"
    assert client.get(f"/submissions/{made}").status_code == 200
    assert client.delete(f"/submissions/{made}").status_code == 200


# -- parts, caching, compression ---------------------------------------------------------------------


def test_only_the_fields_that_are_asked_for(nodes: Nodes, client: httpx.Client) -> None:
    id = nodes.finished()
    assert client.get(f"/submissions/{id}?fields=status,outcome").json() == {
        "status": "finished",
        "outcome": "ok",
    }
    told = problem(client.get(f"/submissions/{id}?fields=status,colour"), 422, "invalid-parameters")
    assert told["errors"][0]["field"] == "query.fields"


def test_what_is_finished_is_not_sent_twice(nodes: Nodes, client: httpx.Client) -> None:
    id = nodes.submit()
    assert "etag" not in client.get(f"/submissions/{id}").headers
    id = nodes.finished()
    tag = client.get(f"/submissions/{id}").headers["etag"]
    again = client.get(f"/submissions/{id}", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    part = client.get(f"/submissions/{id}?fields=status", headers={"If-None-Match": tag})
    assert part.status_code == 200


def test_large_answers_are_compressed(nodes: Nodes, client: httpx.Client) -> None:
    id = nodes.finished(None, RunStage(stdout="x" * 100_000, exit_code=0))
    with client.stream("GET", f"/submissions/{id}", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(raw) < 2000
    assert json.loads(gzip.decompress(raw))["run"][0]["stdout"] == "x" * 100_000


# -- output files ------------------------------------------------------------------------------------


def outputs(**files: bytes | None) -> RunStage:
    found = tuple(
        OutputFile(
            name=name.replace("__", "/"),
            size_bytes=len(data or b""),
            media_type="text/html",
            content=None if data is None else base64.b64encode(data).decode(),
            omitted="output_file_bytes" if data is None else None,
        )
        for name, data in files.items()
    )
    return RunStage(exit_code=0, outputs=found)


def test_images_are_shown_and_all_else_is_saved(nodes: Nodes, client: httpx.Client) -> None:
    page = b"<script>alert(1)</script>"
    id = nodes.finished(None, outputs(**{"out__plot.html": PNG, "é.png": page, "big": None}))
    image = client.get(f"/submissions/{id}/outputs/0/out/plot.html")
    saved = client.get(f"/submissions/{id}/outputs/0/é.png")
    assert (image.content, image.headers["content-type"]) == (PNG, "image/png")
    assert (saved.content, saved.headers["content-type"]) == (page, "application/octet-stream")
    assert image.headers["content-disposition"] == "inline; filename*=UTF-8''plot.html"
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9.png"
    for answer in (image, saved):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    again = client.get(image.url.path, headers={"If-None-Match": image.headers["etag"]})
    assert again.status_code == 304
    problem(client.get(f"/submissions/{id}/outputs/0/big"), 404, "output-left-out")
    problem(client.get(f"/submissions/{id}/outputs/0/none"), 404, "unknown-output")
    problem(client.get(f"/submissions/{id}/outputs/1/big"), 404, "unknown-output")
    problem(client.get("/submissions/nobody/outputs/0/x"), 404, "unknown-submission")


# -- who may ask -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "[::1].evil.example",
        "[::1]evil.example:80",
        "localhost:80.evil.example",
        "::1",
        "",
    ],
)
def test_other_hosts_are_not_ours(client: httpx.Client, host: str) -> None:
    problem(client.get("/health", headers={"Host": host}), 421, "misdirected")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:2", "[::1]:3", "LOCALHOST"])
def test_names_of_this_machine(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


def test_of_two_hosts_both_must_be_ours(client: httpx.Client) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert raw(client, head).startswith(b"HTTP/1.1 421 ")


OF_PROXIES = ("X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via")


@pytest.mark.parametrize("header", OF_PROXIES)
def test_what_a_proxy_passes_on_is_refused_without_keys(client: httpx.Client, header: str) -> None:
    for path in ("/health", "/submissions"):
        refused = problem(client.get(path, headers={header: "192.0.2.1"}), 403, "proxied")
        assert header.lower() in refused["detail"]
        assert "ENVICUTOR_HTTP_KEYS=true" in refused["detail"]
        assert "ENVICUTOR_HTTP_OPEN=true" in refused["detail"]


def test_what_a_proxy_passes_on_is_answered_if_that_is_intended(kafka: str, tmp_path: Path) -> None:
    with Nodes(kafka, tmp_path, count=1, http_open=True) as intended:
        [client] = intended.clients
        for header in OF_PROXIES:
            answer = client.post("/submissions", json={"run": "true"}, headers={header: "192.0.2.1"})
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            assert client.get("/health", headers={header: "192.0.2.1"}).is_success


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_what_a_page_elsewhere_could_send_is_refused(client: httpx.Client, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    for path in ("/submissions", "/submissions/batch"):
        answer = client.post(path, content=b'{"run": "true"}', headers=headers)
        problem(answer, 415, "unsupported-media-type")


# -- limits ------------------------------------------------------------------------------------------


def raw(client: httpx.Client, sent: bytes) -> bytes:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(sent)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_a_head_is_bounded(client: httpx.Client) -> None:
    fits = client.get("/health", headers={"X-Padding": "x" * (HEAD_BYTES - 1000)})
    assert fits.status_code == 200
    answer = raw(client, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"application/problem+json" in answer
    assert b"problems/head-too-large" in answer


def test_what_is_not_http(client: httpx.Client) -> None:
    answer = raw(client, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"problems/not-http" in answer


# -- what is told of it ------------------------------------------------------------------------------


def test_every_answer_has_the_id_of_its_request(client: httpx.Client) -> None:
    given = client.get("/health", headers={"X-Request-Id": "mine-1"})
    made = client.get("/nowhere", headers={"X-Request-Id": "not mine"})
    assert given.headers["x-request-id"] == "mine-1"
    assert len(made.headers["x-request-id"]) == 32


def test_metrics(nodes: Nodes, client: httpx.Client) -> None:
    nodes.finished()
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    told = answer.text
    assert 'envicutor_http_requests_total{method="POST",route="/submissions",status="202"}' in told
    assert 'envicutor_http_request_seconds_bucket{le="0.001",method="POST",route="/submissions"}' in told
    for topic in (nodes.topics.submissions.store.name, nodes.topics.submissions.events.name):
        assert f'envicutor_ingest_lag_records{{topic="{topic}"}} ' in told
    assert "envicutor_submissions_unfinished " in told
    assert "envicutor_http_event_streams 0.0" in told


def test_packages_of_a_set_that_the_node_has_not_are_unavailable(nodes: Nodes) -> None:
    answer = nodes.clients[0].get("/packages", params={"q": "numpy"})
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "this host does not have the package set pin",
    )
    assert int(answer.headers["Retry-After"]) > 0
