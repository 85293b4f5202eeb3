"""When events are committed, by what they change."""

from typing import Any

import pytest
from confluent_kafka import Message

from processors.store.commit_policy import LINGER_S, CommitPolicy
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


def test_new_work_and_another_attempt_are_committed_at_once(partition: Folding) -> None:
    partition.fold(event(0, a_request()))
    assert partition.linger_s == 0
    partition.committed()
    partition.fold(event(100, submissions.LeaseExpired(attempt=1, checker="c")))
    assert partition.linger_s == 0


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
