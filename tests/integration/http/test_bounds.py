"""Clients that would cost too much are refused or cut off, and the others do not notice."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.integration.http.nodes import DEADLINE_S, Nodes, eventually
from topics.stage import RunStage

pytestmark = pytest.mark.xdist_group("http")

CONNECTIONS = 4
PAGE = "https://page.example"


@pytest.fixture(scope="module")
def node(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder: Path = tmp_path_factory.mktemp("node")
    with Nodes(kafka, folder, count=1, http_connections=CONNECTIONS, cors_origins=(PAGE,)) as node:
        yield node


def connect(node: Nodes) -> socket.socket:
    url = node.clients[0].base_url
    return socket.create_connection((url.host, url.port or 0), timeout=DEADLINE_S)


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
