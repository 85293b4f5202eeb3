"""How commands find server and key: of the option, the environment, a file."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.commands import client

SERVER = "http://127.0.0.1:9"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "client.toml"
    monkeypatch.setattr(client, "CONFIG_FILE", file)
    monkeypatch.setitem(client.ClientSettings.model_config, "toml_file", file)
    return file


def told(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, env={f"ENVICUTOR_{n}": v for n, v in environment.items()})
    return result.exit_code, result.output


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
    code, output = told("show", "one")
    assert (code, "envicutor_k" in output) == (2, False)
    assert "chmod 600" in output
    config.write_text(f'server = "{SERVER}"')
    assert client.target(None) == (SERVER, None)


@pytest.mark.parametrize("server", ["localhost:8000", "127.0.0.1", "ftp://localhost", "http://"])
def test_a_server_is_a_url(config: Path, server: str) -> None:
    code, output = told("list", "--server", server)
    assert code == 2
    assert "begins with http://" in output


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HTTP_HOST", "0.0.0.0", "Set ENVICUTOR_HTTP_KEYS=true, and make keys with `envicutor keys create`"),
        ("HTTP_PORT", "99999", "ENVICUTOR_HTTP_PORT: .* less than or equal to 65535, not '99999'"),
        ("HTTP_NAMES", "judge.test", "ENVICUTOR_HTTP_NAMES is not JSON"),
        ("LOG_LEVEL", "info", "ENVICUTOR_LOG_LEVEL: .*'DEBUG', 'INFO', .*, not 'info'"),
        ("RETENTION_DAYS", '{"dead-letters": 0}', "ENVICUTOR_RETENTION_DAYS, dead-letters: .*, not '0'"),
    ],
)
def test_wrong_settings_are_explained(name: str, value: str, message: str) -> None:
    for command in ("ingest", "up") if name == "HTTP_HOST" else ("ingest",):
        code, output = told(command, **{name: value})
        assert code == 2, output
        assert re.search(message, output)
        assert "Traceback" not in output
