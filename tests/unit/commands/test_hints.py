"""What commands say where something is missing: what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from infra.kafka.ports import choose_free_port
from tests.support.commands import run_command


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    """Answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("command", [("show", "a"), ("packages", "search", "a")])
def test_a_server_that_is_not_there(command: tuple[str, ...]) -> None:
    code, output = run_command(*command, SERVER=f"http://127.0.0.1:{choose_free_port()}")
    assert code == 7
    assert "Connection refused" in output
    assert "`envicutor up` starts it here; set ENVICUTOR_SERVER" in output


@pytest.mark.parametrize("command", [("show", "a"), ("packages", "search", "a")])
def test_a_server_that_asks_for_a_key(command: tuple[str, ...]) -> None:
    with server(401, b'{"detail": "an API key is needed: send a header"}') as url:
        code, output = run_command(*command, SERVER=url)
        assert code == 2
        assert "set ENVICUTOR_KEY" in output
        assert "`envicutor keys create NAME` makes one" in output
        assert "header" not in output
        assert "header" in run_command(*command, SERVER=url, KEY="envicutor_old")[1]


def test_a_search_without_a_match() -> None:
    with server(200, b'{"packages": [], "total": 0, "package_set": "one"}') as url:
        code, output = run_command("packages", "search", "a", SERVER=url)
    assert code == 0
    assert "no package of one has these words" in output


@pytest.mark.parametrize(
    ("command", "hints"),
    [
        (("list", "--outcome", "fine"), ("--outcome", "'fine' is not one of ok,")),
        (("list", "--status", "fine"), ("--status", "'fine' is not one of queued,")),
        (("list", "--since", "noon"), ("--since", "'noon' is not a time, such as 2026-01-31")),
        (("keys", "create", "me", "--scope", "all"), ("--scope", "'all' is not one of submit, read")),
        (("keys", "create", "me", "--ceiling", "run.wall_time=5"), ("did you mean 'wall_time_s'?",)),
        (("keys", "create", "me", "--ceiling", "run.cpus=0"), ("run.cpus must be at least 0.1, not 0",)),
    ],
)
def test_a_value_that_an_option_has_not(command: tuple[str, ...], hints: tuple[str, ...]) -> None:
    code, output = run_command(*command)
    assert code == 2
    words = " ".join(output.replace("│", " ").split())  # the frame breaks lines
    assert all(hint in words for hint in hints), words
