"""How commands find server and key: of the option, the environment, a file."""

import re
import socket
from pathlib import Path

import pytest

from envicutor_client.cli import client
from infra.commands.known_settings import misspelt
from infra.commands.removed_settings import removed
from tests.support.commands import run_command

SERVER = "http://127.0.0.1:9"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "client.toml"
    monkeypatch.setattr(client, "CONFIG_FILE", file)
    monkeypatch.setitem(client.ClientSettings.model_config, "toml_file", file)
    return file


def test_the_file_that_nobody_else_reads(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(f'server = "{SERVER}"\nkey = "envicutor_k"\n')
    config.chmod(0o600)
    assert client.target(None) == (SERVER, "envicutor_k")
    assert client.target("http://localhost:1") == ("http://localhost:1", "envicutor_k")
    monkeypatch.setenv("ENVICUTOR_KEY", "envicutor_e")
    assert client.target(None) == (SERVER, "envicutor_e")


def test_a_file_with_a_key_that_others_may_read_is_refused(config: Path) -> None:
    config.write_text('key = "envicutor_k"')
    config.chmod(0o640)
    code, output = run_command("show", "one")
    assert (code, "envicutor_k" in output) == (2, False)
    assert "chmod 600" in output
    config.write_text(f'server = "{SERVER}"')
    assert client.target(None) == (SERVER, None)


@pytest.mark.parametrize("server", ["localhost:8000", "127.0.0.1", "ftp://localhost", "http://"])
def test_a_server_is_a_url(config: Path, server: str) -> None:
    code, output = run_command("list", "--server", server)
    assert code == 2
    assert "is not a URL" in output


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HTTP_HOST", "0.0.0.0", "Set ENVICUTOR_HTTP_KEYS=true, and make keys with `envicutor keys create`"),
        ("HTTP_PORT", "99999", "ENVICUTOR_HTTP_PORT: .* less than or equal to 65535, not '99999'"),
        ("HTTP_NAMES", "judge.test", r"""NAMES must be JSON, such as '\["judge.test"\]'"""),
        ("WEBHOOK_ALLOW", "127.0.0.1:8", r"""WEBHOOK_ALLOW must be .*, such as '\["127.0.0.1:8"\]'"""),
        ("LEASE_TIMEOUT_S", "1", "lease_timeout_s must be at least two times lease_renewal_s"),
        ("LOG_LEVEL", "info", "ENVICUTOR_LOG_LEVEL: .*'DEBUG', 'INFO', .*, not 'info'"),
        ("CEILINGS", '{"run": {"wall_time": 9}}', "CEILINGS, run, .* did you mean 'wall_time_s'\\?\n"),
        ("LANGUAGES", '["golang"]', "ENVICUTOR_LANGUAGES, 0: .*; the nearest is 'go'\n"),
        ("SANDBOX_BOXES", "0", "ENVICUTOR_SANDBOX_BOXES: .*greater than 0, not '0'\n$"),
        ("PYPI_INDEX", "http://x", "ENVICUTOR_PYPI_INDEX: 'http://x' is not an address [^']*\n$"),
        ("RETENTION_DAYS", '{"dead-letters": 0}', "ENVICUTOR_RETENTION_DAYS, dead-letters: .*, not '0'"),
    ],
)
def test_wrong_settings_are_explained(name: str, value: str, message: str) -> None:
    for command in ("up",) if name.startswith(("LEASE", "WEBHOOK", "SANDBOX")) else ("ingest", "up"):
        code, output = run_command(command, **{name: value})
        assert code == 2, output
        assert re.search(message, output)
        assert "Traceback" not in output


def test_a_name_that_is_no_setting_is_told_with_the_nearest() -> None:
    names = ["ENVICUTOR_HTTP_PROT", "ENVICUTOR_http_port", "ENVICUTOR_SANDBOX_BOXES", "ENVICUTOR_?", "HOME"]
    assert list(misspelt(names)) == [
        "ENVICUTOR_? is not a setting, and is ignored",
        "ENVICUTOR_HTTP_PROT is not a setting, and is ignored; did you mean ENVICUTOR_HTTP_PORT?",
    ]


@pytest.mark.parametrize("command", ["up", "worker"])
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("QUEUE", "share", "share groups were removed"),
        ("SANDBOX_ENGINE", "bubblewrap", "other engines were removed"),
    ],
)
def test_a_process_that_is_to_use_what_was_removed_does_not_start(
    command: str, name: str, value: str, why: str
) -> None:
    code, output = run_command(command, **{name: value})
    assert code == 2
    assert f"ENVICUTOR_{name}={value}: {why}" in output
    assert "Unset it" in output


def test_the_former_default_of_a_removed_setting_breaks_no_start() -> None:
    assert removed({"ENVICUTOR_QUEUE": "group", "ENVICUTOR_QUEUES": "share"}) is None
    assert removed({"ENVICUTOR_SANDBOX_ENGINE": "native"}) is None
    assert removed({"QUEUE": "share"}) is None
    assert list(misspelt(["ENVICUTOR_QUEUE"])) == [
        "ENVICUTOR_QUEUE is not a setting, and is ignored; it was removed, and this value changes nothing"
    ]


def test_up_looks_first_whether_another_has_the_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, output = run_command("up", HTTP_PORT=str(port), DATA_DIR=str(tmp_path))
    assert code == 2
    assert f"port {port} of 127.0.0.1 is in use, maybe by another system: set ENVICUTOR_HTTP_PORT" in output
    assert list(tmp_path.iterdir()) == []
