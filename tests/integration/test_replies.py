"""Answers to the topic that a request names, by the real request handler and store processor."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient

from processors.store.on_kafka import StoreOnKafka
from processors.store.submission_store import submission_store
from tests.support.polling import at_least, eventually
from tests.support.roles import running_roles
from tests.support.submissions import GOOD, finished, package_set
from topics.catalogue import catalogue
from topics.kafka import confluent_transactions
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection
from topics.kafka.codec import Record, decode, decode_dead_letter, decode_fact, encode_fact, header
from topics.kafka.replies import ReplyTopics
from topics.kafka.scan import read_to_end
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import CANCEL, FACTS, Rejected
from topics.submissions.state import Answer

DEADLINE_S = 120.0


class RepliesToClients:
    """Other systems, and a worker that is us."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings, self.topics = settings, catalogue(settings)
        ensure_topics(settings, self.topics.topics())
        self.replies = self.topics.replies.name + "school"
        self.make(self.replies)
        self._producer = EventProducer(settings)
        self._send(package_set(self.topics))

    def close(self) -> None:
        self._producer.close()

    def make(self, topic: str) -> None:
        ensure_topics(self.settings, (replace(self.topics.replies, name=topic),))

    def delete(self, topic: str) -> None:
        admin = AdminClient(connection(self.settings))
        [deletion] = admin.delete_topics([topic]).values()
        deletion.result(DEADLINE_S)
        eventually(lambda: topic not in admin.list_topics(timeout=5).topics, "the broker has no such topic")

    def _send(self, record: Record) -> None:
        self._producer.produce(record).result(DEADLINE_S)

    def ask(self, id: str, value: bytes = GOOD, reply_topic: str | None = None) -> None:
        name = self.replies if reply_topic is None else reply_topic
        self._send(Record(self.topics.requests.name, id, value, [("reply_topic", name.encode())]))

    def cancel(self, id: str) -> None:
        self._send(Record(self.topics.requests.name, id, None, [("ce_type", CANCEL.encode())]))

    def finish(self, id: str) -> None:
        self._send(encode_fact(self.topics.submissions.events.name, id, finished(), FACTS, "test"))

    def stored(self, id: str) -> None:
        eventually(
            lambda: id.encode() in [row.key() for row in self._read(self.topics.submissions.store.name)],
            f"{id} is stored",
        )

    def _read(self, topic: str) -> list[Message]:
        return list(read_to_end(self.settings, topic))

    def told(self, count: int, topic: str | None = None) -> list[tuple[str, str, str]]:
        """Id, status, and outcome or the field that was bad, as soon as there are `count`."""
        replies = topic or self.replies
        records = eventually(lambda: self._read(replies), f"{count} answers", enough=at_least(count))
        assert {header(record, "ce_type") for record in records} == {"envicutor.submission.answered.v1"}
        answers = [decode(Answer, record.value()) for record in records]
        return [(a.id, a.status, a.outcome or "".join(error.field for error in a.errors)) for a in answers]

    def letters(self, count: int) -> list[tuple[str, str]]:
        """Key and reason."""
        name = self.topics.dead_letters.name
        records = eventually(lambda: self._read(name), f"{count} dead letters", enough=at_least(count))
        letters = [decode_dead_letter(record) for record in records]
        return [
            (str(key, "utf-8"), reason) for _, reason, (_, key, _, _) in letters if isinstance(key, bytes)
        ]

    def accept(self, id: str, reply_topic: str) -> None:
        """Publish a submission as the request handler would."""
        fact = make_requested(*parse_request(GOOD, MiB), "pin", source="kafka", reply_topic=reply_topic)
        self._send(encode_fact(self.topics.submissions.events.name, id, fact, FACTS, "test"))


@pytest.fixture
def system(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[RepliesToClients]:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path)
    system = RepliesToClients(settings)
    with running_roles(settings, "request-handler", "submission-store"):
        yield system
    system.close()


def test_every_end_is_told_and_no_other_topic_is_written(system: RepliesToClients) -> None:
    system.ask("finished")
    system.ask("conflict")
    system.ask("cancelled")
    system.ask("bad", b"{")
    system.ask("nowhere", reply_topic=system.topics.submissions.events.name)
    system.ask("missing", reply_topic=system.topics.replies.name + "nobody-made-it")
    for id in ("finished", "conflict", "cancelled", "bad", "nowhere", "missing"):
        system.stored(id)
    system.ask("conflict", b'{"run": "false"}')
    system.cancel("cancelled")
    system.finish("finished")

    assert sorted(system.told(4)) == [
        ("bad", "rejected", ""),
        ("cancelled", "cancelled", ""),
        ("conflict", "rejected", "id"),
        ("finished", "finished", "ok"),
    ]
    letters = dict(system.letters(4))
    assert letters.keys() == {"bad", "conflict", "nowhere", "missing"}
    assert "is not allowed" in letters["nowhere"]
    assert "there is no topic" in letters["missing"]
    events = read_to_end(system.settings, system.topics.submissions.events.name)
    facts = {fact.id: fact.fact for fact in (decode_fact(event, FACTS) for event in events)}
    for id in ("nowhere", "missing"):
        rejected = facts[id]
        assert isinstance(rejected, Rejected)
        assert [error.field for error in rejected.errors] == ["reply_topic"]


def test_a_topic_that_is_gone_stops_nobody(system: RepliesToClients) -> None:
    """Its answer is a dead letter, the others go on."""
    gone = system.topics.replies.name + "gone"
    system.make(gone)
    system.ask("early", reply_topic=gone)
    system.ask("late", reply_topic=gone)
    system.stored("early")
    system.finish("early")
    assert system.told(1, gone) == [("early", "finished", "ok")]
    system.stored("late")
    system.delete(gone)
    system.finish("late")
    system.ask("next")
    system.stored("next")
    system.finish("next")
    assert system.told(1) == [("next", "finished", "ok")]
    [(id, reason)] = system.letters(1)
    assert id == "late"
    assert "there is no topic" in reason


def test_the_broker_is_asked_for_reply_topics_before_a_transaction_and_never_in_one(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of metadata or configuration may last longer than a transaction."""
    calls: list[str] = []

    class Recorded(Producer):
        def begin_transaction(self) -> None:
            calls.append("begin")
            super().begin_transaction()

        def commit_transaction(self, timeout: float = -1) -> None:
            super().commit_transaction(timeout)
            calls.append("commit")

    look = ReplyTopics._look

    def recorded_look(replies: ReplyTopics) -> None:
        calls.append("ask")
        look(replies)

    monkeypatch.setattr(confluent_transactions, "Producer", Recorded)
    monkeypatch.setattr(ReplyTopics, "_look", recorded_look)
    system = RepliesToClients(
        KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path)
    )
    store = StoreOnKafka(system.settings, submission_store(system.topics), "0")
    thread = threading.Thread(target=lambda: asyncio.run(store.run()))
    thread.start()
    try:
        system.accept("told", system.replies)
        system.accept("untold", system.topics.replies.name + "missing")
        for id in ("told", "untold"):
            system.finish(id)
            system.stored(id)
        assert system.told(1) == [("told", "finished", "ok")]
        [(id, reason)] = system.letters(1)
        assert (id, "there is no topic" in reason) == ("untold", True)
    finally:
        store.stop()
        thread.join(DEADLINE_S)
        system.close()
    assert "ask" in calls
    of_transactions = [call for call in calls if call != "ask"]
    assert of_transactions == ["begin", "commit"] * (len(of_transactions) // 2)
    assert all(calls[number + 1] == "commit" for number, call in enumerate(calls) if call == "begin"), calls
