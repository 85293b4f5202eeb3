import json
from pathlib import Path

import pytest

from tests.support.roles import environment_of, role_environment
from topics.settings import KafkaSettings


def test_settings_are_given_as_a_role_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = KafkaSettings(
        bootstrap_servers="a:1", topic_prefix="p-", retention_days={"submissions.events": 3}
    )
    given = role_environment(kafka, data_dir=Path("/data"), webhook_allow=["b:2"])
    assert json.loads(given["ENVICUTOR_WEBHOOK_ALLOW"]) == ["b:2"]
    for name in given.keys() - environment_of().keys():
        monkeypatch.setenv(name, given[name])
    read = KafkaSettings()
    assert (read.bootstrap_servers, read.topic_prefix, read.data_dir) == ("a:1", "p-", Path("/data"))
    assert read.retention_days == kafka.retention_days
