"""How long topics keep what stands on them."""

from typing import get_args

import pytest
from pydantic import ValidationError

from topics.catalogue import catalogue
from topics.settings import KafkaSettings, RetainedTopic
from topics.topic import DAY_MS, FOR_EVER


def test_every_topic_whose_records_go_by_age_has_a_setting() -> None:
    topics = catalogue(KafkaSettings())
    kept = [topic for topic in topics.topics() if not (topic.compacted or topic.trimmed)]
    of_the_moment = {topics.submissions.slots.name, topics.dependencies.slots.name, topics.steps.name}
    assert {topic.name for topic in kept} - of_the_moment - {topics.seals.name} == set(
        get_args(RetainedTopic)
    )


def test_retention_is_the_setting_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = '{"submissions.events": 365, "dead-letters": null}'
    monkeypatch.setenv("ENVICUTOR_RETENTION_DAYS", chosen)
    topics = catalogue(KafkaSettings(topic_prefix="some-"))
    assert topics.submissions.events.config()["retention.ms"] == str(365 * DAY_MS)
    assert topics.dead_letters.retention_ms == FOR_EVER
    assert topics.requests.retention_ms == 7 * DAY_MS


@pytest.mark.parametrize("wrong", ['{"submissions.store": 1}', '{"submissions.events": 0}'])
def test_what_cannot_be_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVICUTOR_RETENTION_DAYS", wrong)
    with pytest.raises(ValidationError, match="retention_days"):
        KafkaSettings()
