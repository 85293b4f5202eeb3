"""What the log says in the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.system.cluster.running import Cluster
from topics.dependencies import facts as dependencies
from topics.kafka.codec import decode, decode_fact
from topics.kafka.scan import read_to_end
from topics.model import Model
from topics.submissions import facts as submissions
from topics.submissions.state import Submission


class Event(NamedTuple):
    """A fact and when it was appended, in seconds since the epoch."""

    at_s: float
    id: str
    fact: Model


@dataclass(frozen=True)
class Log:
    """Everything that is checked."""

    submissions: list[Event]
    dependencies: list[Event]
    ticks: dict[str, list[list[float]]]
    """Of the health checkers, by topic and partition: when each was appended."""
    store: dict[str, Submission]
    dead_letters: int


def read_log(cluster: Cluster) -> Log:
    """All of it."""
    topics, kafka = cluster.topics, cluster.kafka
    return Log(
        submissions=list(_events(cluster, topics.submissions.events.name, submissions.FACTS)),
        dependencies=list(_events(cluster, topics.dependencies.events.name, dependencies.FACTS)),
        ticks={
            family: _ticks(cluster, leases.name)
            for family, leases in (
                ("submissions", topics.submissions.leases),
                ("dependencies", topics.dependencies.leases),
            )
        },
        store=read_store(cluster),
        dead_letters=sum(1 for _ in read_to_end(kafka, topics.dead_letters.name)),
    )


def read_store(cluster: Cluster) -> dict[str, Submission]:
    """Each submission as it is now."""
    messages = read_to_end(cluster.kafka, cluster.topics.submissions.store.name)
    states = (decode(Submission, message.value()) for message in messages)
    return {state.id: state for state in states}


def _events(cluster: Cluster, topic: str, facts: Any) -> Iterator[Event]:
    for message in read_to_end(cluster.kafka, topic):
        recorded = decode_fact(message, facts)
        yield Event(message.timestamp()[1] / 1000, recorded.id, recorded.fact)


def _ticks(cluster: Cluster, topic: str) -> list[list[float]]:
    by_partition: dict[int, list[float]] = {}
    for message in read_to_end(cluster.kafka, topic):
        if message.key() is None:
            by_partition.setdefault(message.partition() or 0, []).append(message.timestamp()[1] / 1000)
    return list(by_partition.values())
