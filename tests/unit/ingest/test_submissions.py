"""Acceptance of requests by a node, without a broker."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.access import Caller
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from ingest.submissions import _TAKING, Submissions
from nix.registries.latest import LatestVersions
from nix.settings import NixSettings
from tests.support.submissions import PINS
from topics.catalogue import catalogue
from topics.disk import DiskWatch
from topics.kafka.tail import TailConsumer
from topics.request.model import SubmissionRequest
from topics.settings import KafkaSettings
from topics.submissions.facts import Requested
from topics.submissions.state import Submission
from topics.views.view import View

TAKING = b'{"run": "true", "files": [{"name": "b", "from": {"submission": "s", "name": "a"}}]}'


def make_node(kafka: KafkaSettings, settings: IngestSettings) -> Submissions:
    topics, consumer = catalogue(kafka), TailConsumer(kafka)
    environments = View(kafka, topics.dependencies.store.name, kafka.data_dir / "environments")
    latest, disk = LatestVersions(NixSettings()), DiskWatch({})
    return Submissions(kafka, topics, settings, "0", consumer, latest, environments, disk)


def test_few_requests_at_a_time_take_files_and_others_go_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a batch of 100 requests of 200 bytes could be 4 MiB in memory."""
    events: list[str] = []

    async def scenario() -> None:
        acknowledged = asyncio.Event()

        async def complete(id: str, request: SubmissionRequest, *_: Any) -> SubmissionRequest:
            events.append("completed")
            return request

        async def append(id: str, fact: Requested, *_: Any, **__: Any) -> Submission:
            if fact.request.files:
                await acknowledged.wait()
            events.append("acknowledged" if fact.request.files else "plain")
            return Submission(
                id=id, status="queued", created_at="t", content_hash=fact.content_hash, owner=fact.owner
            )

        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", data_dir=tmp_path)
        node = make_node(kafka, IngestSettings())
        readable = SimpleNamespace(readable=True, unfinished_at_most=0)
        monkeypatch.setattr(node, "package_sets", SimpleNamespace(offered=PINS))
        monkeypatch.setattr(node, "projection", readable)
        monkeypatch.setattr(node, "_complete", complete)
        monkeypatch.setattr(node, "_append_request", append)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(node.accept(TAKING, Caller()))
            await group.create_task(node.accept(b'{"run": "true"}', Caller()))
            acknowledged.set()
        node._producer.close()

    asyncio.run(scenario())
    assert events[: _TAKING + 2] == [*["completed"] * _TAKING, "plain", "acknowledged"]
    assert (events.count("completed"), events.count("acknowledged")) == (20, 20)


def test_a_node_with_a_new_table_appends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows neither quotas nor the submissions of earlier versions for an idempotency key."""

    async def scenario() -> None:
        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", data_dir=tmp_path)
        settings = IngestSettings(acknowledge_timeout_s=0.1)
        node = make_node(kafka, settings)
        monkeypatch.setattr(node, "package_sets", SimpleNamespace(offered=PINS))
        appended: list[Any] = []
        monkeypatch.setattr(node._producer, "publish", appended.append)
        with pytest.raises(ProblemError) as refused:
            await node.accept(b'{"run": "true"}', Caller())
        assert (refused.value.status, appended) == (503, [])
        assert "unknown" not in refused.value.problem().detail
        node._producer.close()

    asyncio.run(scenario())
