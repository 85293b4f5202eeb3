"""The recorded log of a busy system folds to the rows that its stores had."""

import sys
from collections import defaultdict

import pytest
from confluent_kafka import Message

from tests.support.recorded_log import BUSY_SYSTEM, read
from topics.aggregate import Aggregate, aggregates
from topics.audit.folded_states import stores_at
from topics.catalogue import catalogue
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[Message]]:
    """The records by topic."""
    records: dict[str, list[Message]] = defaultdict(list)
    for message in read(BUSY_SYSTEM):
        records[str(message.topic())].append(message)
    return records


@pytest.mark.parametrize(
    "aggregate", aggregates(catalogue(KafkaSettings())), ids=lambda aggregate: aggregate.name
)
def test_events_fold_to_the_recorded_rows(aggregate: Aggregate, recorded: dict[str, list[Message]]) -> None:
    rows = {
        (message.key() or b"").decode(): message.value() for message in recorded[aggregate.family.store.name]
    }
    assert stores_at(aggregate, recorded[aggregate.family.events.name], sys.maxsize) == rows


def test_events_of_every_kind_are_recorded(recorded: dict[str, list[Message]]) -> None:
    events = recorded["submissions.events"]
    types = {dict(message.headers() or ()).get("ce_type") for message in events}
    assert types >= {name.encode() for name in FACTS}
    assert len({message.key() for message in events}) > 300
