"""Attempts that a store processor owes to the queue, and when it enqueues them."""

import pytest

from processors.store.owed_attempts import ENQUEUE_AFTER_S, OwedAttempts
from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from tests.support.submissions import STARTED, event, finished, message_of, request
from topics.catalogue import catalogue
from topics.kafka.codec import HOPS, Record
from topics.settings import KafkaSettings
from topics.submissions.facts import Cancelled, HandedBack, SubmissionFact
from topics.submissions.state import Submission, Work

STORE = submission_store(catalogue(KafkaSettings()))
DIRECT = request(source="http").replace(dispatch="direct")


def restored(*rows: Record) -> Partition:
    partition = Partition(STORE)
    for row in rows:
        partition.restore(message_of(row))
    return partition


def row_after(*facts: SubmissionFact) -> Record:
    partition = Partition(STORE)
    for offset, fact in enumerate(facts):
        partition.fold(event(offset, fact))
    return partition.records()[0]


def test_a_request_that_its_handler_dispatches_enqueues_nothing() -> None:
    partition = Partition(STORE)
    assert partition.fold(event(0, DIRECT)).owed
    [row] = partition.records()
    assert Submission.read(row.value or b"").owed


@pytest.mark.parametrize("fact", [STARTED, finished(), Cancelled()])
def test_any_accepted_fact_shows_that_nothing_is_owed(fact: SubmissionFact) -> None:
    partition = Partition(STORE)
    partition.fold(event(0, DIRECT))
    assert not partition.fold(event(1, fact)).owed
    assert restored(row_after(DIRECT, fact)).restored_owed() == []


def test_the_next_attempt_is_enqueued_at_once() -> None:
    partition = Partition(STORE)
    partition.fold(event(0, DIRECT))
    applied = partition.fold(event(1, HandedBack(attempt=1, worker="w", reason="r")))
    assert (applied.owed, applied.has_effects) == (None, True)


def test_a_refused_fact_changes_nothing() -> None:
    partition = Partition(STORE)
    partition.fold(event(0, DIRECT))
    assert partition.fold(event(1, STARTED.replace(attempt=2))).fact is None
    [(id, owed)] = restored(row_after(DIRECT, STARTED.replace(attempt=2))).restored_owed()
    assert (id, owed.dispatch, owed.owner) == ("id", "direct", "http/")


def test_an_owed_attempt_is_enqueued_with_the_work_that_the_fold_makes_and_the_row_stays() -> None:
    partition = restored(row_after(DIRECT))
    before = dict(partition.states)
    assert partition.enqueue_owed("id", maybe_enqueued=True) > 0
    [record] = partition.records()
    now = Partition(STORE)
    now.fold(event(0, request(source="http")))
    assert record.value == now.records()[1].value
    assert Work.read(record.value or b"").attempt == 1
    assert dict(record.headers)[HOPS] == b"0", "it is no first delivery"
    assert partition.states == before


def test_the_row_decides_when_its_bytes_are_found() -> None:
    partition = restored(row_after(DIRECT))
    partition.states["id"] = partition.states["id"].replace(b',"owed":"direct"', b"")
    assert partition.restored_owed() == []


def due(owed: OwedAttempts, now_s: float, *, end: int = 5, next_offset: int = 5) -> list[str]:
    return owed.due(0, now_s, end=end, next_offset=next_offset)


def test_owed_attempts_are_due_in_order_after_a_while() -> None:
    owed = OwedAttempts()
    owed.restored(0, ["a", "b"], 10.0)
    owed.folded(0, "c", 11.0, owed=True)
    owed.folded(0, "c", 12.0, owed=True)
    owed.folded(0, "b", 11.0, owed=False)
    assert due(owed, 10.0 + ENQUEUE_AFTER_S - 0.1) == []
    assert due(owed, 10.0 + ENQUEUE_AFTER_S) == ["a"]
    assert due(owed, 11.0 + ENQUEUE_AFTER_S) == ["a", "c"]
    owed.enqueued(0, ["a", "c"])
    assert due(owed, 99.0) == []


def test_nothing_is_due_before_the_events_of_that_moment_are_folded() -> None:
    owed = OwedAttempts()
    owed.restored(0, ["a"], 10.0)
    owed.folded(0, "b", 12.0, owed=True)
    now_s = 10.0 + ENQUEUE_AFTER_S
    assert due(owed, now_s, end=-1001) == [], "the end is not known"
    assert due(owed, now_s, end=9, next_offset=5) == []
    assert due(owed, now_s + 5, end=20, next_offset=8) == []
    assert due(owed, now_s + 5, end=30, next_offset=9) == ["a"], "later events do not delay it for ever"
    assert due(owed, now_s + 5, end=30, next_offset=9) == []
    assert due(owed, now_s + 6, end=40, next_offset=30) == ["a", "b"]


def test_owed_attempts_of_a_partition_that_is_gone_are_forgotten() -> None:
    owed = OwedAttempts()
    owed.restored(0, ["a"], 0.0)
    owed.forget([0, 1])
    owed.restored(0, [], 0.0)
    assert due(owed, 99.0) == []
