"""Topics of one test on the broker that all tests share."""

from pathlib import Path

import pytest

from topics.catalogue import Catalogue, catalogue
from topics.kafka.admin import ensure_topics
from topics.settings import KafkaSettings


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> KafkaSettings:
    """Settings of a system of its own, whose topics exist."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path)
    ensure_topics(settings, catalogue(settings).topics())
    return settings


@pytest.fixture
def topics(settings: KafkaSettings) -> Catalogue:
    return catalogue(settings)
