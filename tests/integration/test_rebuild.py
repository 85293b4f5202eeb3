"""A store made anew from its log, beside the processes that live on it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from infra.cli import app
from tests.support.polling import eventually
from tests.support.roles import role_environment
from tests.support.store_instances import (
    DEADLINE_S,
    REQUEST,
    SESSION_TIMEOUT_MS,
    StoreInstances,
    lives,
)
from tests.support.submissions import STARTED, finished
from topics.kafka.clients import connection
from topics.kafka.codec import Record
from topics.settings import KafkaSettings
from topics.submissions.state import FOLD_VERSION


@pytest.fixture
def system(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[StoreInstances]:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=SESSION_TIMEOUT_MS
    )
    system = StoreInstances(settings, tmp_path)
    yield system
    system.close()


def wait_to_go_on(system: StoreInstances) -> None:
    before = system.committed()
    eventually(lambda: system.committed() > before, "the store to go on")


def rebuild(system: StoreInstances) -> tuple[int, str]:
    environment = role_environment(system.kafka)
    arguments = ["rebuild", "submissions"]
    result = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    return result.exit_code, result.output.splitlines()[-1]


def test_rows_of_a_mistake_and_of_an_old_fold_are_made_anew(system: StoreInstances) -> None:
    first = system.start()
    system.say(("wrong", REQUEST), ("old", REQUEST), ("broken", REQUEST), ("right", REQUEST))
    system.wait_folded()
    system.stop(first)
    right = system.rows()
    by_hand = {
        "wrong": right["wrong"].replace(b"queued", b"cancelled"),
        "old": right["old"].replace(b'"fold_version":%d' % FOLD_VERSION, b'"fold_version":0'),
        "broken": b"{",
        "invented": right["right"],
    }
    unreadable = Record(system.family.store.name, b"\xff", b"", [])
    assert all(right.get(key) != row for key, row in by_hand.items())
    by_hand_too = (Record(system.family.store.name, key, row, []) for key, row in by_hand.items())
    system.produce(unreadable, *by_hand_too)
    system.say(("old", STARTED))
    assert system.start().wait(DEADLINE_S) != 0, "it does not fold on the state of another version"

    done = rebuild(system)

    assert done == (0, "submissions: 4 events folded, 4 rows, 3 of them written, 2 others removed")
    assert system.rows() == right
    system.start()
    system.say(*((id, finished(attempt=1)) for id in right))
    system.wait_folded()
    system.assert_store_and_queue_are_the_fold()


def test_a_living_processor_loses_what_it_remembers(system: StoreInstances) -> None:
    first = system.start()
    system.say(("a", REQUEST), ("b", REQUEST))
    system.wait_folded()
    system.stop(first)
    cancelled = system.rows()["a"].replace(b"queued", b"cancelled")
    system.produce(Record(system.family.store.name, b"a", cancelled, []))
    system.start()
    system.say(("b", STARTED))
    system.wait_folded()

    assert rebuild(system)[0] == 0

    system.say(("a", finished(attempt=1)))
    system.wait_folded()
    system.assert_store_and_queue_are_the_fold()


def test_nothing_is_lost_or_done_twice_while_events_come(system: StoreInstances) -> None:
    system.start("0")
    system.start("1")
    done = threading.Event()

    def go_on() -> None:
        number = 0
        while not done.is_set():
            system.say(*lives(f"life-{number}", 2))
            number += 1
            time.sleep(0.02)

    producing = threading.Thread(target=go_on)
    producing.start()
    try:
        for _ in range(2):
            assert rebuild(system)[0] == 0
            wait_to_go_on(system)
    finally:
        done.set()
        producing.join()
    system.wait_folded()
    system.assert_store_and_queue_are_the_fold()


def test_before_any_store_processor_there_is_nothing_to_do(system: StoreInstances) -> None:
    system.say(("a", REQUEST))
    done = rebuild(system)
    assert done == (0, "submissions: 0 events folded, 0 rows, 0 of them written, 0 others removed")


def test_without_the_beginning_of_the_log_nothing_is_changed(system: StoreInstances) -> None:
    first = system.start()
    system.say(("a", REQUEST), ("b", REQUEST))
    system.wait_folded()
    system.stop(first)
    rows = system.rows()
    gone = TopicPartition(system.family.events.name, 0, 1)
    admin = AdminClient(connection(system.kafka))
    for deletion in admin.delete_records([gone]).values():
        deletion.result(DEADLINE_S)

    exit_code, said = rebuild(system)

    assert (exit_code, "the events before 1 are gone" in said) == (1, True)
    assert system.rows() == rows
