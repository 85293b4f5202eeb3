"""The log of a system of an earlier version: this version's processes make of it what they made then."""

import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.polling import eventually
from tests.support.recorded_log import BUSY_SYSTEM, read
from tests.support.roles import role_environment, running_roles
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import connection, producer_config
from topics.kafka.scan import committed_offsets, read_to_end
from topics.settings import KafkaSettings
from topics.topic import Family, Topic

DEADLINE_S = 90.0
STORES = ("submission-store", "build-store")


class RecordedSystem:
    """Topics with the recorded events."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings, self.topics = settings, catalogue(settings)
        self.families = (self.topics.submissions, self.topics.dependencies)
        self.recorded = list(read(BUSY_SYSTEM))
        self.environment = role_environment(settings)

    def load(self) -> None:
        """Append the recorded events as they were, with the times at which they were appended."""
        _create(self.settings, [family.events for family in self.families])
        ensure_topics(self.settings, self.topics.topics())
        events = {family.events.name for family in self.families}
        producer = Producer(producer_config(self.settings, message_timeout_ms=round(DEADLINE_S * 1000)))
        for message in self.recorded:
            topic = f"{self.settings.topic_prefix}{message.topic()}"
            if topic in events:
                producer.produce(
                    topic,
                    message.value(),
                    message.key(),
                    message.partition() or 0,
                    timestamp=message.timestamp()[1],
                    headers=message.headers(),
                )
        assert producer.flush(DEADLINE_S) == 0

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.cli", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def has_recorded_rows(self, family: Family) -> bool:
        name = family.store.name.removeprefix(self.settings.topic_prefix)
        recorded = _latest(message for message in self.recorded if message.topic() == name)
        return _latest(read_to_end(self.settings, family.store.name)) == recorded

    def is_folded(self, family: Family) -> bool:
        committed = committed_offsets(self.settings, family.store_group, family.events.name)
        events = sum(1 for _ in read_to_end(self.settings, family.events.name))
        return sum(max(0, offset) for offset in committed.values()) == events


def _latest(messages: Iterable[Message]) -> dict[object, object]:
    rows = {message.key(): message.value() for message in messages}
    return {key: row for key, row in rows.items() if row is not None}


def _create(settings: KafkaSettings, topics: Iterable[Topic]) -> None:
    """Create topics whose records keep the times that producers give them.

    A broker may apply a change of a topic's settings after the first records.
    """
    new = [
        NewTopic(
            topic.name,
            topic.partitions(settings.profile),
            config=topic.config() | {"message.timestamp.type": "CreateTime"},
        )
        for topic in topics
    ]
    admin = AdminClient(connection(settings))
    for future in admin.create_topics(new).values():
        future.result(DEADLINE_S)


@pytest.fixture
def system(kafka: str, topic_prefix: str, tmp_path: Path) -> RecordedSystem:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path, session_timeout_ms=2000
    )
    system = RecordedSystem(settings)
    system.load()
    return system


def test_stores_and_audits_and_rebuilds_are_as_they_were(system: RecordedSystem) -> None:
    with running_roles(system.settings, *STORES):
        for family in system.families:
            eventually(partial(system.is_folded, family), "all events are folded")
            eventually(partial(system.has_recorded_rows, family), "the rows are as recorded")
        verified = system.run("audit", "verify")
        assert verified.returncode == 0, verified.stdout
        for subject in ("submissions", "dependencies"):
            rebuilt = system.run("rebuild", subject)
            assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
        for family in system.families:
            assert system.has_recorded_rows(family)
