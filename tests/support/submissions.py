"""Requests and facts of submissions as tests write them."""

from collections.abc import Mapping
from typing import Literal

from confluent_kafka import Message

from topics.catalogue import Catalogue, catalogue
from topics.kafka.codec import Record, encode, encode_fact
from topics.request.limits import MiB
from topics.request.package_sets import OfferedPackageSets
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Finished, Requested, Started, SubmissionFact
from topics.submissions.stage import Outcome, RunStage
from topics.views.package_sets import DEBIAN, PackageSetInForce

GOOD = b'{"run": "true"}'
"""The value of a request that is accepted."""
PINS = OfferedPackageSets({"debian-12": "pin", "debian-13": "pin-13"})
"""Package sets that a request may name."""
STARTED = Started(attempt=1, worker="w")


def request(value: bytes = GOOD, source: Literal["http", "kafka"] = "kafka") -> Requested:
    """Return the fact that a request with this value was accepted."""
    return make_requested(*parse_request(value, MiB), "pin", source=source)


def finished(*run: RunStage, attempt: int = 1, worker: str = "w", outcome: Outcome = "ok") -> Finished:
    """Return the fact that an attempt ended after these test cases."""
    return Finished(attempt=attempt, worker=worker, outcome=outcome, dependencies=None, compile=None, run=run)


def package_set(topics: Catalogue) -> Record:
    """Return the record that puts a package set in force, without which no request is accepted."""
    in_force = PackageSetInForce(name=DEBIAN, pin="pin", index_digest="d", created_at="now")
    return Record(topics.package_sets.name, DEBIAN, encode(in_force), [])


def package_sets(topics: Catalogue, pins: Mapping[str, str]) -> list[Record]:
    """Return the records that put package sets in force, by name with the default one first."""
    records = [
        PackageSetInForce(name=name, pin=pin, index_digest="d", created_at="now")
        for name, pin in pins.items()
    ]
    default = records[0].replace(name=DEBIAN, offered=tuple(pins))
    return [
        Record(topics.package_sets.name, record.name, encode(record), []) for record in (*records, default)
    ]


def message_of(record: Record) -> Message:
    """Return a record with a key and a value as its topic has it."""
    assert isinstance(record.key, bytes)
    assert isinstance(record.value, bytes)
    return Message(record.topic, 0, 0, record.key, record.value, record.headers)


def event(offset: int, fact: SubmissionFact, id: str = "id") -> Message:
    """Return the record of a fact as partition 2 of the log has it, appended at `offset` milliseconds."""
    topic = catalogue(KafkaSettings()).submissions.events.name
    record = encode_fact(topic, id, fact, FACTS, "test")
    assert isinstance(record.key, bytes)
    assert isinstance(record.value, bytes)
    return Message(topic, 2, offset, record.key, record.value, record.headers, timestamp=(2, offset))
