"""What commands say where something is missing: what to do about it."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from infra.accounts import make_folder
from infra.kafka.ports import choose_free_port
from infra.kafka.tls import make_tls
from infra.package_sets import EnvironmentsFileError, prebuilt_environments
from infra.settings import LocalSettings
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


def handshakes(listener: socket.socket, context: ssl.SSLContext) -> None:
    """One TLS handshake after another, until the listener is closed."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()


def test_a_broker_that_requires_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.commands.broker._CONNECT_TIMEOUT_S", 1.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_tls(tmp_path, None).broker_file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=handshakes, args=(listener, context))
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        code, output = run_command("keys", "list", BOOTSTRAP_SERVERS=address)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert code == 7
    assert "requires TLS and a user: load the settings of an operator" in output
    assert "secrets/operator.env" in output
    assert "starts it here" not in output


def test_a_broker_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.commands.broker._CONNECT_TIMEOUT_S", 0.2)
    code, output = run_command("keys", "list", BOOTSTRAP_SERVERS=f"127.0.0.1:{choose_free_port()}")
    assert code == 7
    assert "`envicutor up` starts it here" in output


def test_a_file_or_a_folder_of_a_setting_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentsFileError, match=r"ENVICUTOR_PREBUILD: .*/a: No such file"):
        prebuilt_environments(LocalSettings(prebuild=tmp_path / "a"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^ENVICUTOR_DATA_DIR: .*/file/a cannot be made: Not a directory$"):
        make_folder("DATA_DIR", tmp_path / "file" / "a")


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
