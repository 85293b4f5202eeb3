"""The SubmissionStore as processes on a real broker: whatever is killed, store and queue are the fold.

What must come out is told by the log itself: `Partition`, the same pure fold, without any of the rest.
"""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.polling import eventually
from tests.support.store_instances import DEADLINE_S, REQUEST, SESSION_TIMEOUT_MS, StoreInstances, life, lives
from tests.support.submissions import finished
from topics.kafka.clients import consumer_config, producer_config
from topics.kafka.codec import Record
from topics.settings import KafkaSettings
from topics.submissions.facts import (
    Cancelled,
    LeaseExpired,
    Requested,
)
from topics.submissions.state import Submission


@pytest.fixture
def system(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[StoreInstances]:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=SESSION_TIMEOUT_MS
    )
    system = StoreInstances(settings, tmp_path)
    yield system
    system.close()


def test_state_queue_and_offsets_are_one_transaction(system: StoreInstances) -> None:
    system.start()
    system.say(*life("a"), ("b", REQUEST))
    system.produce(
        Record(system.family.events.name, b"a", b"{", [("ce_type", b"envicutor.submission.finished.v1")]),
        Record(system.family.events.name, None, b"\xff", []),
    )
    conflict: Requested = REQUEST.replace(content_hash="other")
    system.say(("a", conflict), ("b", Cancelled()))
    system.wait_folded()

    system.assert_store_and_queue_are_the_fold()
    assert {id: Submission.model_validate_json(row).status for id, row in system.rows().items()} == {
        "a": "finished",
        "b": "cancelled",
    }
    letters = system.read(system.topics.dead_letters.name)
    assert sorted(message.value() or b"" for message in letters)[::2] == [b"{", b"\xff"]


def test_another_instance_takes_over_from_a_killed_one(system: StoreInstances) -> None:
    first = system.start("0")
    for part in range(10):
        system.say(*lives(f"before-{part}", 30))
    eventually(lambda: system.committed() > 0, "the first commit")
    first.kill()
    first.wait()
    done = system.committed()
    system.say(*lives("after", 30))

    system.start("1")
    system.wait_folded()

    assert 0 < done < system.committed()
    system.assert_store_and_queue_are_the_fold()


def test_a_paused_instance_is_fenced_and_takes_over_again_without_its_memory(system: StoreInstances) -> None:
    known = lives("known", 10)
    zombie = system.start("0")
    system.say(*known[:20])
    system.wait_folded()
    system.say(*lives("while-it-stops", 100))
    eventually(lambda: system.committed() > 20, "a commit of what it stops in")
    zombie.send_signal(signal.SIGSTOP)
    successor = system.start("1")
    system.say(*known[20:])
    system.wait_folded()

    zombie.send_signal(signal.SIGCONT)
    system.say(*lives("after", 30))
    system.wait_folded()
    system.stop(successor)
    if zombie.poll() is not None:  # as its supervisor would
        system.start("0")
    system.say(*known[20:])  # which would make new attempts of what the zombie knew
    system.wait_folded()

    system.assert_store_and_queue_are_the_fold()


def test_a_restore_waits_for_transactions_below_what_is_committed(system: StoreInstances) -> None:
    """A reader at the last stable offset sees too little of the store, and would fold on an old state."""
    first = system.start()
    system.say(("a", REQUEST))
    system.wait_folded()
    somebody = Producer(
        producer_config(system.kafka, message_timeout_ms=5000)
        | {"transactional.id": system.kafka.topic_prefix + "somebody", "transaction.timeout.ms": 60_000}
    )
    somebody.init_transactions(DEADLINE_S)
    somebody.begin_transaction()
    somebody.produce(system.family.store.name, b"never committed", b"a", 0)
    assert somebody.flush(DEADLINE_S) == 0
    system.say(("a", LeaseExpired(attempt=1, checker="c")))
    eventually(lambda: system.committed() == 2, "a commit above the open transaction")
    system.stop(first)

    system.start("1")
    eventually(lambda: system.assigned("1"), "the assignment to the next instance")
    system.say(("a", finished(attempt=2)))
    folded_meanwhile = watch(lambda: system.committed() > 2, 2.0)
    somebody.abort_transaction(DEADLINE_S)
    system.wait_folded()

    assert not folded_meanwhile
    assert Submission.model_validate_json(system.rows()["a"]).status == "finished"
    system.assert_store_and_queue_are_the_fold()


def test_its_process_trims_the_queue(system: StoreInstances) -> None:
    queue = system.family.queue.name
    system.produce(*(Record(queue, b"id", b"popped", []) for _ in range(3)))
    [partition] = {message.partition() or 0 for message in system.read(queue)}
    workers = Consumer(consumer_config(system.kafka, system.family.work_group))
    workers.commit(offsets=[TopicPartition(queue, partition, 3)], asynchronous=False)
    workers.close()

    system.start()

    eventually(lambda: not system.read(queue), "the queue to be trimmed")


def watch(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False
