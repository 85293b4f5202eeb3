"""The client against a real HTTP server that answers as told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from envicutor_client import Client, RequestRefusedError, UnavailableError
from envicutor_client.models import Answer, Status, SubmissionRequest

Reply = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Gives `replies` in their order, the last one again and again; None breaks the connection."""

    replies: list[Reply | None]
    asked: list[tuple[str, str, Any]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, json.loads(body or b"null")))
        replies = self.server.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply is None:
            return
        status, headers, content = reply
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def reply(status: Status, code: int = 200) -> Reply:
    return code, {}, Answer(id="one", status=status, created_at="").model_dump_json().encode()


def problem(code: int, **fields: object) -> Reply:
    return code, {}, json.dumps({"detail": "no", "errors": []} | fields).encode()


def test_submitting_again_is_the_same_submission(server: Server, client: Client) -> None:
    server.replies = [None, (503, {"Retry-After": "0"}, b""), reply("queued", 202)]
    assert client.submit({"run": "true"}).status == "queued"
    bodies = [body for _, _, body in server.asked]
    assert len(bodies) == 3
    assert bodies[0]["id"]
    assert bodies == bodies[:1] * 3


def test_a_models_request_is_sent_as_it_was_made(server: Server, client: Client) -> None:
    server.replies = [reply("finished")]
    client.submit(SubmissionRequest(id="mine", run=("echo", "hi")), wait_s=1000)
    assert server.asked == [
        ("POST", "/submissions?wait=true&wait_timeout_s=30.0", {"id": "mine", "run": ["echo", "hi"]})
    ]


def test_wait_asks_until_it_is_final(server: Server, client: Client) -> None:
    server.replies = [reply("queued"), reply("started"), reply("finished")]
    assert client.wait("a/b", 60).status == "finished"
    path = "/submissions/a%2Fb?wait=true&wait_timeout_s=30.0"
    assert server.asked == [("GET", path, None)] * 3


def test_wait_is_over_some_time(server: Server, client: Client) -> None:
    server.replies = [reply("started")]
    with pytest.raises(TimeoutError, match="one has not ended, but is started"):
        client.wait("one", 0.05)


def test_refusal_carries_the_fields(server: Server, client: Client) -> None:
    error = {"field": "limits.run.cpus", "message": "at most 2", "limit": 2}
    server.replies = [problem(422, errors=[error])]
    with pytest.raises(RequestRefusedError) as refused:
        client.submit({})
    assert refused.value.status == 422
    assert [wrong.model_dump() for wrong in refused.value.errors] == [error]


@pytest.mark.parametrize("answer", [problem(500), (502, {}, b"<html>"), (200, {}, b"<html>")])
def test_no_answer(server: Server, client: Client, answer: Reply) -> None:
    server.replies = [answer]
    with pytest.raises(UnavailableError):
        client.get("one")


def test_who_waits_is_told_why_it_takes_longer(server: Server) -> None:
    server.replies = [(503, {"Retry-After": "0"}, b""), reply("queued")]
    told: list[str] = []
    with Client(server.url, on_retry=told.append) as client:
        client.get("one")
    assert told == [f"{server.url} answers 503 Service Unavailable"]


def test_nobody_there_names_the_submission(server: Server) -> None:
    server.server_close()
    with Client(server.url) as client, pytest.raises(UnavailableError, match=r"about mine .* refused"):
        client.submit({"id": "mine"})
