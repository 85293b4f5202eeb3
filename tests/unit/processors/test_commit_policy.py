"""When events are committed, and how long they are gathered, by what they change."""

from typing import Any

import pytest
from confluent_kafka import Message

from processors.store.commit_policy import (
    BUSY_MS,
    LINGER_S,
    PAUSE_S,
    RATE_MS,
    CommitPolicy,
)
from processors.store.partition import Partition
from processors.store.submission_store import submission_store
from tests.support.submissions import STARTED, event, finished, request
from topics.catalogue import catalogue
from topics.settings import KafkaSettings
from topics.submissions import facts as submissions

CATALOGUE = catalogue(KafkaSettings())
STORE = submission_store(CATALOGUE)
FINISHED = finished()
NOW_S = 1000.0


class Folding:
    """A partition, and the policy that decides about it."""

    def __init__(self, number: int = 0, policy: CommitPolicy | None = None) -> None:
        self.policy = policy or CommitPolicy(STORE.lingers_s)
        self._number, self._partition = number, Partition(STORE)
        self.policy.restored([number])

    def fold(self, message: Message, now_s: float = NOW_S) -> None:
        self.policy.folded(self._number, self._partition.fold(message), now_s)

    def committed(self) -> None:
        self._partition.committed()
        self.policy.committed()

    @property
    def linger_s(self) -> float:
        wait_s = self.policy.wait_s(NOW_S)
        assert wait_s is not None
        return wait_s

    @property
    def pause_s(self) -> float:
        return self.policy.pause_s


@pytest.fixture
def partition() -> Folding:
    return Folding()


def a_request(**changes: Any) -> submissions.Requested:
    return request().replace(**changes)


def test_nobody_waits_for_started_alone(partition: Folding) -> None:
    partition.fold(event(0, a_request()))
    assert partition.linger_s == 0
    partition.committed()
    partition.fold(event(1, STARTED))
    assert partition.linger_s == pytest.approx(LINGER_S)
    partition.fold(event(2, submissions.Cancelled()))
    assert partition.linger_s == 0


def test_an_end_waits_for_company_unless_somebody_is_to_be_told(partition: Folding) -> None:
    for offset, (id, changes) in enumerate({"a": {}, "b": {"reply_topic": "replies.a"}}.items()):
        partition.fold(event(offset, a_request(**changes), id))
    partition.committed()
    partition.fold(event(2, FINISHED, "a"))
    assert partition.linger_s == pytest.approx(LINGER_S)
    partition.fold(event(3, FINISHED, "b"))
    assert partition.linger_s == 0


def queued(partition: Folding, *enqueued_ms: int) -> None:
    for number, at_ms in enumerate(enqueued_ms):
        partition.fold(event(at_ms, a_request(), f"queued-{number}"))
        partition.committed()


def something_else(partition: Folding, at_ms: int) -> None:
    partition.fold(event(at_ms, submissions.Cancelled(), "unknown"))


def taken(partition: Folding, at_ms: int, number: int = 0) -> None:
    partition.fold(event(at_ms, STARTED, f"queued-{number}"))
    partition.committed()


def test_events_come_together_while_workers_leave_work_waiting(partition: Folding) -> None:
    queued(partition, 0, 1, 2)
    taken(partition, BUSY_MS)
    assert partition.pause_s == 0
    something_else(partition, BUSY_MS + 2)
    assert partition.pause_s == PAUSE_S


def test_nothing_waits_where_workers_would_soon_run_dry(partition: Folding) -> None:
    queued(partition, 0, 1, 2, 3)
    for number in (0, 1):
        taken(partition, BUSY_MS + number, number)
        partition.fold(event(BUSY_MS + number, a_request(), f"later-{number}"))
        partition.committed()
    something_else(partition, BUSY_MS + 4)
    assert partition.pause_s == 0


def test_nothing_waits_where_workers_take_nothing_anyhow(partition: Folding) -> None:
    queued(partition, 0, 1, 2)
    taken(partition, BUSY_MS)
    something_else(partition, BUSY_MS + RATE_MS)
    assert partition.pause_s == 0


@pytest.mark.parametrize(("committed", "pause_s"), [(True, PAUSE_S), (False, 0)])
def test_what_is_not_committed_yet_waits_for_no_worker(
    partition: Folding, committed: bool, pause_s: float
) -> None:
    queued(partition, 0)
    partition.fold(event(1, a_request(), "a"))
    partition.fold(event(1, a_request(), "b"))
    if committed:
        partition.committed()
    partition.fold(event(BUSY_MS, STARTED, "queued-0"))
    something_else(partition, BUSY_MS + 1)
    assert partition.pause_s == pause_s


def test_what_was_cancelled_waits_for_no_worker(partition: Folding) -> None:
    queued(partition, 0)
    for id in "ab":
        partition.fold(event(1, a_request(), id))
        partition.fold(event(1, submissions.Cancelled(), id))
    partition.committed()
    taken(partition, BUSY_MS)
    something_else(partition, BUSY_MS + 2)
    assert partition.pause_s == 0


def test_new_work_and_another_attempt_are_committed_at_once(partition: Folding) -> None:
    partition.fold(event(0, a_request()))
    assert partition.linger_s == 0
    partition.committed()
    partition.fold(event(100, submissions.LeaseExpired(attempt=1, checker="c")))
    assert partition.linger_s == 0


def test_nothing_is_known_of_what_was_enqueued_before_the_assignment(partition: Folding) -> None:
    queued(partition, 0, 1)
    partition.policy.restored([0])
    taken(partition, 1000)
    assert partition.pause_s == 0


def test_a_commit_is_due_once_the_linger_of_the_first_event_is_over(partition: Folding) -> None:
    assert partition.policy.wait_s(NOW_S) is None
    assert not partition.policy.is_due(NOW_S)
    for number in range(3):
        partition.fold(event(number, STARTED, f"unknown-{number}"), NOW_S + number * LINGER_S / 4)
    assert not partition.policy.is_due(NOW_S + LINGER_S * 0.9)
    assert partition.policy.is_due(NOW_S + LINGER_S * 1.1)
    partition.committed()
    assert not partition.policy.is_due(NOW_S + 1000)


def test_a_full_transaction_is_due_at_once_and_the_next_one_is_empty() -> None:
    partition = Folding(policy=CommitPolicy(STORE.lingers_s, transaction_bytes=5000))
    partition.fold(event(0, a_request()))
    partition.committed()
    assert not partition.policy.is_full
    offset = 1
    while not partition.policy.is_full:
        assert not partition.policy.is_due(NOW_S)
        partition.fold(event(offset, STARTED.replace(worker=f"worker-{offset}")))
        offset += 1
    assert partition.policy.is_due(NOW_S)
    partition.committed()
    assert not partition.policy.is_full


def test_partitions_are_committed_together_and_forgotten_apart() -> None:
    first = Folding(0)
    second = Folding(1, first.policy)
    first.fold(event(0, a_request()))
    second.fold(event(0, STARTED), NOW_S)
    assert first.policy.is_due(NOW_S)
    first.policy.forget([0])
    assert not first.policy.is_due(NOW_S)
    assert second.policy.is_due(NOW_S + LINGER_S * 1.1)
    second.policy.forget([1])
    assert not second.policy.is_due(NOW_S + 1000)
    assert first.policy.pause_s == 0


def test_events_are_gathered_only_if_no_partition_objects(partition: Folding) -> None:
    queued(partition, 0, 1, 2)
    taken(partition, BUSY_MS)
    something_else(partition, BUSY_MS + 2)
    assert partition.policy.pause_s == PAUSE_S
    partition.policy.restored([1])
    assert partition.policy.pause_s == 0
