"""The tables and the diagram of docs/architecture.md say what the code says."""

import re
from pathlib import Path

import pytest

from topics.catalogue import catalogue
from topics.request.ceilings import range_of
from topics.request.limits import GiB, Limits, MiB
from topics.settings import KafkaSettings
from topics.topic import DAY_MS, HOUR_MS, Topic

DOCUMENT = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def kept(topic: Topic) -> str:
    if topic.compacted:
        return "compacted"
    if topic.trimmed:
        return "until it is consumed"
    if topic.retention_ms < 0:
        return "for ever"
    if topic.retention_ms % DAY_MS == 0:
        return f"{topic.retention_ms // DAY_MS} days"
    return f"{topic.retention_ms // HOUR_MS} h"


def topic_row(topic: Topic) -> str:
    cells = [
        f"`{topic.name}`",
        topic.description,
        kept(topic),
        f"{topic.local_partitions} / {topic.cluster_partitions}",
        ", ".join(topic.writers),
        ", ".join(topic.readers),
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("topic", catalogue(KafkaSettings()).topics(), ids=lambda topic: topic.name)
def test_each_topic_stands_in_the_table(topic: Topic) -> None:
    assert topic_row(topic) in DOCUMENT


NOT_DRAWN = {"package-sets", "dead-letters", "api-keys"}


def test_the_diagram_has_all_other_topics() -> None:
    drawn = set(re.findall(r'\[\("([a-z.]+)"\)\]', DOCUMENT))
    topics = {topic.name for topic in catalogue(KafkaSettings()).topics()}
    assert drawn == {name for name in topics - NOT_DRAWN if not name.endswith("-changelog")}
    assert all(f"`{name}`" in DOCUMENT for name in NOT_DRAWN)


def quantity(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return f"{value // GiB:g} GiB" if value % GiB == 0 else f"{value // MiB:g} MiB"
    return f"{value:g}"


def limit_row(name: str) -> str:
    cells = [f"`{name}`"]
    for stage in ("dependencies", "compile", "run"):
        allowed = range_of((stage, name))
        default = getattr(getattr(Limits(), stage), name, None)
        if allowed is None or default is None:
            cells.append("-")
        else:
            cells.append(f"{quantity(name, default)} / {quantity(name, allowed.ceiling)}")
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("name", type(Limits().run).model_fields)
def test_each_limit_stands_in_the_table(name: str) -> None:
    assert limit_row(name) in DOCUMENT
