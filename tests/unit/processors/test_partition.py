"""A store's memory of one partition: what is to be produced, and that nothing unreadable stops it."""

from typing import Any

import pytest
from confluent_kafka import Message

from processors.store.build_store import build_store
from processors.store.partition import Partition, StaleStoreError
from processors.store.submission_store import submission_store
from tests.support.submissions import STARTED, event, finished, request
from topics.catalogue import catalogue
from topics.kafka.codec import Record, encode
from topics.settings import KafkaSettings
from topics.submissions import facts as submissions
from topics.submissions.state import Submission, Work

CATALOGUE = catalogue(KafkaSettings())
EVENTS = CATALOGUE.submissions.events.name
STORE = submission_store(CATALOGUE)
FINISHED = finished()


@pytest.fixture
def partition() -> Partition:
    return Partition(STORE)


def a_request(**changes: Any) -> submissions.Requested:
    return request().replace(**changes)


def topics(records: list[Record]) -> list[str]:
    return [record.topic for record in records]


def test_a_request_makes_a_row_and_a_record_of_the_queue(partition: Partition) -> None:
    partition.fold(event(0, a_request()))
    row, work = partition.records()
    assert (row.topic, row.key) == ("submissions.store", b"id")
    assert (work.topic, work.key) == ("submissions.queue", b"id")
    assert row.value == partition.states["id"]
    assert Submission.model_validate_json(row.value or b"").status == "queued"
    assert Work.model_validate_json(work.value or b"").request == request().request
    assert dict(row.headers)["ce_type"] == b"envicutor.submission.stored.v1"
    assert dict(row.headers)["ce_id"] == b"submissions.events/2/0"
    assert dict(work.headers)["ce_type"] == b"envicutor.submission.enqueued.v1"


def test_only_the_latest_state_is_stored_but_every_effect_is_kept(partition: Partition) -> None:
    partition.fold(event(0, a_request()))
    partition.fold(event(1, STARTED))
    partition.fold(event(2, submissions.LeaseExpired(attempt=1, checker="c")))
    partition.fold(event(3, submissions.Cancelled()))
    records = partition.records()
    assert topics(records) == [
        "submissions.store",
        "submissions.queue",
        "submissions.stops",
        "submissions.queue",
        "submissions.stops",
    ]
    assert Submission.model_validate_json(records[0].value or b"").status == "cancelled"
    assert partition.next_offset == 4


def test_after_the_commit_nothing_is_left_to_produce(partition: Partition) -> None:
    partition.fold(event(0, a_request()))
    assert partition.uncommitted
    partition.committed()
    assert not partition.uncommitted
    assert partition.records() == []


def test_what_changes_nothing_still_moves_the_offset(partition: Partition) -> None:
    partition.fold(event(0, a_request()))
    partition.committed()
    partition.fold(event(1, a_request()))
    partition.fold(event(2, STARTED, id="unknown"))
    assert partition.uncommitted
    assert partition.records() == []
    assert set(partition.states) == {"id"}


@pytest.mark.parametrize(
    ("key", "value", "ce_type"),
    [
        (None, b"{}", b"envicutor.submission.cancelled.v1"),
        (b"\xff", b"{}", b"envicutor.submission.cancelled.v1"),
        (b"id", b"{", b"envicutor.submission.cancelled.v1"),
        (b"id", None, b"envicutor.submission.requested.v1"),
        (b"id", b"{}", b"envicutor.submission.requested.v1"),
        (b"id", b"{}", b"envicutor.submission.unknown.v1"),
        (b"id", b"{}", b"\xff"),
    ],
)
def test_an_unreadable_event_becomes_a_dead_letter_and_the_partition_goes_on(
    partition: Partition, key: bytes | None, value: bytes | None, ce_type: bytes
) -> None:
    partition.fold(event(0, a_request()))
    partition.committed()
    partition.fold(Message(EVENTS, 2, 1, key, value, [("ce_type", ce_type)], timestamp=(2, 1)))
    partition.fold(event(2, submissions.Cancelled()))
    row, letter, stop = partition.records()
    assert (row.topic, stop.topic) == ("submissions.store", "submissions.stops")
    assert (letter.topic, letter.key, letter.value) == ("dead-letters", key, value)
    headers = dict(letter.headers)
    assert headers["ce_type"] == ce_type
    assert headers["dead_letter_from"] == b"submissions.events/2/1"
    assert headers["dead_letter_reason"]
    assert partition.next_offset == 3


def test_a_conflict_from_kafka_is_a_dead_letter(partition: Partition) -> None:
    partition.fold(event(0, a_request()))
    partition.committed()
    conflict = event(1, a_request(content_hash="other"))
    partition.fold(conflict)
    [letter] = partition.records()
    assert (letter.topic, letter.value) == ("dead-letters", conflict.value())
    assert b"conflict" in (dict(letter.headers)["dead_letter_reason"] or b"")


def test_an_answer_goes_to_the_topic_that_was_named(partition: Partition) -> None:
    partition.fold(event(0, a_request(reply_topic="replies.a")))
    partition.committed()
    partition.fold(event(1, FINISHED))
    row, answer = partition.records()
    assert (answer.topic, answer.key) == ("replies.a", b"id")
    assert answer.value == Submission.model_validate_json(row.value or b"").answer().encode()
    assert dict(answer.headers)["ce_type"] == b"envicutor.submission.answered.v1"
    partition.committed()
    assert partition.records() == []


def test_an_answer_that_its_topic_does_not_take_is_a_dead_letter(partition: Partition) -> None:
    partition.fold(event(0, a_request(reply_topic="replies.a")))
    partition.committed()
    end = event(1, FINISHED)
    partition.fold(end)
    row, letter = partition.records({"replies.a": "it is gone"}.get)
    assert (row.topic, letter.topic, letter.value) == ("submissions.store", "dead-letters", end.value())
    assert b"it is gone" in (dict(letter.headers)["dead_letter_reason"] or b"")


def test_a_row_of_another_fold_is_never_folded_on(partition: Partition) -> None:
    partition.fold(event(0, a_request()))
    other = Submission.model_validate_json(partition.states["id"]).replace(fold_version=0)
    restored = Partition(partition.store, states={"id": encode(other)})
    with pytest.raises(StaleStoreError, match="by version 0 of the fold"):
        restored.fold(event(1, STARTED))


def test_nobody_reads_stops_of_builds() -> None:
    assert build_store(CATALOGUE).stops is None
