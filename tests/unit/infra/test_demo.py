"""Which settings the demonstration starts its system with, and how it reaches that system."""

import asyncio
from pathlib import Path
from typing import Any, Self

import pytest
import typer
from typer.testing import CliRunner

from envicutor_client import RequestRefusedError
from infra import demo
from infra.local import NotRootError
from infra.settings import LocalSettings
from topics.security.api_keys import ApiKey, Scope, digest
from topics.settings import KafkaSettings


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


def test_requests_go_to_the_topic_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    produced: list[str] = []

    class Producer:
        def __init__(self, _: object) -> None: ...

        def produce(self, topic: str, **_: object) -> None:
            produced.append(topic)

        def flush(self, _: float) -> None: ...

    monkeypatch.setattr(demo, "Producer", Producer)
    demo.produce(KafkaSettings(topic_prefix="school-"), {"run": "true"})
    assert produced == ["school-submissions.requests"]


class FakeCluster:
    """One that requires keys, and learns of a new one after it has refused it once."""

    requires_keys = True
    url = "http://demo.test"
    kafka = KafkaSettings()

    def __init__(self, *_: object) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def test_with_keys_the_demonstration_makes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may read what belongs to no key, and is not used before the server knows it."""
    stored: dict[str, ApiKey] = {}
    statuses = [401, 404]
    used: list[Any] = []

    class Client:
        def __init__(self, _: str, key: str) -> None:
            assert stored[digest(key)].scopes == (Scope.SUBMIT, Scope.READ, Scope.READ_ALL)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def get(self, _: str) -> None:
            raise RequestRefusedError(statuses.pop(0), "refused")

    async def run_example(_: object, url: str, key: str | None, kafka: KafkaSettings) -> str:
        used.append(key)
        return "no answer"

    monkeypatch.setattr(demo, "LocalCluster", FakeCluster)
    monkeypatch.setattr(demo, "Client", Client)
    monkeypatch.setattr(demo, "put_key", lambda _, hashed, record: stored.update({hashed: record}))
    monkeypatch.setattr(demo, "run_example", run_example)
    asyncio.run(demo.run_examples(LocalSettings(), demo.load_examples()[:1]))
    assert statuses == []
    assert [digest(key) for key in used] == [*stored]
