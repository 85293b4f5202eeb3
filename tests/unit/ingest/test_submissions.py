"""Submissions of a node that cannot read its table yet."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingest.access import Caller
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from nix.registries.latest import LatestVersions
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.kafka.tail import TailConsumer
from topics.settings import KafkaSettings


def test_a_node_with_a_new_table_appends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows neither quotas nor the submissions of earlier versions for an idempotency key."""

    async def scenario() -> None:
        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", data_dir=tmp_path)
        settings = IngestSettings(acknowledge_timeout_s=0.1)
        node = Submissions(
            kafka, catalogue(kafka), settings, "0", TailConsumer(kafka), LatestVersions(NixSettings())
        )
        monkeypatch.setattr(node, "package_sets", SimpleNamespace(in_force=SimpleNamespace(pin="pin")))
        appended: list[Any] = []
        monkeypatch.setattr(node._producer, "publish", appended.append)
        with pytest.raises(ProblemError) as refused:
            await node.accept(b'{"run": "true"}', Caller())
        assert (refused.value.status, appended) == (503, [])
        assert "unknown" not in refused.value.problem().detail
        node._producer.close()

    asyncio.run(scenario())
