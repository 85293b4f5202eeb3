"""Clients that would cost too much are refused or cut off, and the others do not notice."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.integration.http.nodes import DEADLINE_S, Nodes
from tests.support.polling import eventually
from topics.submissions.stage import RunStage

pytestmark = pytest.mark.xdist_group("http")

CONNECTIONS = 4
OTHER_ADDRESS = "127.0.0.2"
PAGE = "https://page.example"


@pytest.fixture(scope="module")
def node(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder: Path = tmp_path_factory.mktemp("node")
    settings = {
        "http_connections": CONNECTIONS,
        "http_connections_per_address": 1,
        "http_trusted_addresses": ("127.0.0.1",),
        "cors_origins": (PAGE,),
    }
    with Nodes(kafka, folder, count=1, **settings) as node:
        yield node


def connect(node: Nodes, source: str = "127.0.0.1") -> socket.socket:
    url = node.clients[0].base_url
    return socket.create_connection((url.host, url.port or 0), DEADLINE_S, source_address=(source, 0))


def read(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def ports(node: Nodes) -> set[int]:
    """Of the clients that are connected."""
    connections = set(node.servers[0].server_state.connections)
    peers = (connection.transport.get_extra_info("peername") for connection in connections)
    return {peer[1] for peer in peers if peer is not None}


def test_no_more_connections_than_allowed(node: Nodes) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connect(node))
        refused = read(stack.enter_context(connect(node)))
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 2\r\n" in refused
    assert b"application/problem+json" in refused
    assert eventually(lambda: node.clients[0].get("/health").is_success, "there is room again")


def test_who_does_not_finish_a_request_is_cut_off(node: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.server.HEAD_S", 0.3)
    with connect(node) as silent, connect(node) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost:")
        for connection in (silent, slow):
            with suppress(ConnectionResetError):
                assert read(connection) == b""


def test_who_does_not_read_is_cut_off(node: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.server.STUCK_S", 0.3)
    id = node.finished(None, RunStage(stdout="x" * 12_000_000, exit_code=0))
    with connect(node) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET /submissions/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        port = connection.getsockname()[1]
        eventually(lambda: port in ports(node), "it is connected")
        eventually(lambda: port not in ports(node), "it is cut off")


# -- requests that are not read to their end ---------------------------------------------------------

WRONG_TYPE = b"POST /submissions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
GOOD_HEAD = b"POST /submissions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LONG_ENOUGH_S = 5.0


def until_end(connection: socket.socket, *, sending: bytes = b"") -> tuple[bytes, bool]:
    """What is received, and whether the server ended the connection, while bytes are sent now and then."""
    received, deadline = b"", time.monotonic() + LONG_ENOUGH_S
    connection.settimeout(0.05)
    while time.monotonic() < deadline:
        try:
            connection.sendall(sending)
            if not (piece := connection.recv(65536)):
                return received, True
            received += piece
        except TimeoutError:
            continue
        except OSError:
            return received, True
    return received, False


@pytest.mark.parametrize("body", [b"Content-Length: 1000000\r\n\r\nx", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_answer_before_the_end_of_a_request_ends_the_connection(node: Nodes, body: bytes) -> None:
    with connect(node) as connection:
        connection.sendall(WRONG_TYPE + body)
        answer, ended = until_end(connection)
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"connection: close\r\n" in answer.lower()
    assert ended


def test_who_goes_on_to_send_after_the_answer_is_cut_off(
    node: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.server.LINGER_S", 0.3, raising=False)
    with connect(node) as connection:
        connection.sendall(WRONG_TYPE + b"Content-Length: 1000000\r\n\r\n")
        port = connection.getsockname()[1]
        assert connection.recv(65536).startswith(b"HTTP/1.1 415 ")
        deadline = time.monotonic() + LONG_ENOUGH_S
        while port in ports(node) and time.monotonic() < deadline:
            with suppress(OSError):
                connection.sendall(b"x")
            time.sleep(0.05)
        assert port not in ports(node)


def test_a_body_has_its_time_in_every_state(node: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events of a submission need no body, so nothing reads it."""
    monkeypatch.setattr("ingest.server.BODY_S", 0.3, raising=False)
    monkeypatch.setattr("ingest.server._BODY_GRACE_S", 0.0, raising=False)
    id = node.submit()
    with connect(node) as connection:
        head = f"GET /submissions/{id}/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode())
        answer, ended = until_end(connection, sending=b"x")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert ended


def test_a_body_that_comes_too_slowly_is_refused(node: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.request_body.BODY_S", 0.3)
    with connect(node) as connection:
        connection.sendall(GOOD_HEAD + b"Content-Length: 1000000\r\n\r\n")
        answer, ended = until_end(connection, sending=b" ")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert ended


def test_empty_lines_do_not_keep_a_connection(node: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.server.HEAD_S", 0.3)
    with connect(node) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")
        _, ended = until_end(connection)
    assert ended


def test_who_must_not_go_on_is_not_told_to(node: Nodes) -> None:
    expecting = b"Content-Length: 15\r\nExpect: 100-continue\r\n\r\n"
    with connect(node) as refused, connect(node) as accepted:
        refused.sendall(WRONG_TYPE + expecting)
        answer, ended = until_end(refused)
        assert answer.startswith(b"HTTP/1.1 415 ")
        assert ended
        accepted.sendall(GOOD_HEAD + expecting)
        assert accepted.recv(65536).startswith(b"HTTP/1.1 100 ")
        accepted.sendall(b'{"run": "true"}')
        assert accepted.recv(65536).startswith(b"HTTP/1.1 202 ")
        accepted.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert accepted.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_requests_that_wait_for_an_earlier_one_have_time(
    node: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.server.HEAD_S", 0.3)
    waiting = GOOD_HEAD.replace(b"submissions", b"submissions?wait=true&wait_timeout_s=1")
    health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    with connect(node) as connection:
        connection.sendall(waiting + b'Content-Length: 15\r\n\r\n{"run": "true"}' + health + b"\r\n" + health)
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 2 and (piece := connection.recv(65536)):
            answers += piece
        connection.sendall(b"Connection: close\r\n\r\n")
        with suppress(ConnectionResetError):
            answers += read(connection)
    assert answers.startswith(b"HTTP/1.1 202 ")
    assert answers.count(b"HTTP/1.1 200 ") == 2


def test_a_client_that_goes_away_is_no_fault_of_ours(node: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), connect(node) as connection:
        connection.sendall(GOOD_HEAD + b"X-Request-Id: gone\r\nContent-Length: 1000000\r\n\r\n{")
        port = connection.getsockname()[1]
        eventually(lambda: port in ports(node), "it is connected")
        time.sleep(0.1)
        connection.close()
        eventually(lambda: "request gone" in caplog.text, "it is logged")
    assert "Traceback" not in caplog.text
    assert "internal error" not in caplog.text
    assert "POST /submissions: 499 after" in caplog.text
    told = node.clients[0].get("/metrics").text
    assert 'envicutor_http_requests_total{method="POST",route="/submissions",status="499"} 1.0' in told
    assert 'status="500"' not in told


def test_no_more_connections_of_an_address_than_allowed(node: Nodes) -> None:
    with connect(node, OTHER_ADDRESS):
        with connect(node, OTHER_ADDRESS) as second:
            refused, _ = until_end(second)
        assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"problems/too-many-connections" in refused
        assert b"ENVICUTOR_HTTP_CONNECTIONS_PER_ADDRESS" in refused
        assert node.clients[0].get("/health").is_success, "another address has room"

    def is_served() -> bool:
        with connect(node, OTHER_ADDRESS) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with suppress(ConnectionResetError):
                return read(connection).startswith(b"HTTP/1.1 200 ")
        return False

    assert eventually(is_served, "there is room again")


def test_pages_that_are_allowed_may_ask(node: Nodes) -> None:
    def preflight(origin: str) -> httpx.Response:
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        headers = asks | {"Access-Control-Request-Headers": "content-type, idempotency-key"}
        return node.clients[0].options("/submissions", headers=headers)

    assert preflight(PAGE).headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in preflight("https://other.example").headers
    answer = node.clients[0].get("/health", headers={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
