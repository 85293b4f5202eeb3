"""Which settings the demonstration starts its system with."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from infra import demo
from infra.local import NotRootError
from infra.settings import LocalSettings


def settings_of_run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> LocalSettings:
    """Those that the system is made with; it is not started."""
    found: list[LocalSettings] = []

    def make(settings: LocalSettings, _: object) -> None:
        found.append(settings)
        raise NotRootError("far enough")

    monkeypatch.setattr(demo, "LocalCluster", make)
    app = typer.Typer()
    app.command()(demo.main)
    CliRunner().invoke(app, arguments)
    return found[0]


def test_settings_of_the_environment_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVICUTOR_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("ENVICUTOR_CACHE_DIR", "/cache")
    monkeypatch.setenv("ENVICUTOR_HTTP_PORT", "8123")
    monkeypatch.setenv("ENVICUTOR_KAFKA_PORT", "9123")
    monkeypatch.setenv("ENVICUTOR_LOG_LEVEL", "DEBUG")
    settings = settings_of_run(monkeypatch)
    assert (settings.data_dir, settings.cache_dir) == (Path("/elsewhere"), Path("/cache"))
    assert (settings.http_port, settings.kafka_port, settings.log_level) == (8123, 9123, "DEBUG")


def test_without_settings_it_keeps_clear_of_a_system_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_DIR", "CACHE_DIR", "HTTP_PORT", "KAFKA_PORT", "LOG_LEVEL"):
        monkeypatch.delenv(f"ENVICUTOR_{name}", raising=False)
    settings = settings_of_run(monkeypatch)
    assert settings.data_dir == Path("/var/lib/envicutor-demo")
    assert (settings.http_port, settings.kafka_port) == (0, 0)


def test_the_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVICUTOR_DATA_DIR", "/elsewhere")
    assert settings_of_run(monkeypatch, "--data-dir", "/mine").data_dir == Path("/mine")
