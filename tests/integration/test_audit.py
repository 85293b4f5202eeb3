"""Audits of what the real store processor made of a log."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from infra.cli import app
from infra.commands.audit import describe
from processors.store.trimming import trim
from tests.support.polling import eventually
from tests.support.roles import Process, role_environment, start_role
from tests.support.submissions import finished, request
from topics.aggregate import Aggregate, aggregates
from topics.audit.history import read_history
from topics.audit.sealed import Seals
from topics.audit.verify import Findings, verify
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, consumer_config
from topics.kafka.codec import Headers, Record, encode, encode_fact
from topics.kafka.scan import read_to_end
from topics.leases import Lease
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Started, SubmissionFact
from topics.submissions.stage import RunStage
from topics.times import milliseconds

DEADLINE_S = 120.0
AUDIT_MD = Path(__file__).parents[2] / "docs" / "audit.md"
SOON_S = 2.0
"""A lease timeout that ends soon."""
FINISHED = finished(RunStage(stdout="hello\n", exit_code=0))


@pytest.fixture
def settings(kafka: str, topic_prefix: str) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, session_timeout_ms=6000)
    ensure_topics(settings, catalogue(settings).topics())
    return settings


@pytest.fixture
def submissions(settings: KafkaSettings) -> Aggregate:
    return aggregates(catalogue(settings))[0]


@pytest.fixture
def environment(settings: KafkaSettings, tmp_path: Path) -> dict[str, str]:
    return role_environment(settings, data_dir=tmp_path, lease_timeout_s=SOON_S)


@pytest.fixture
def store_processor(environment: dict[str, str]) -> Iterator[Process]:
    process = start_role("submission-store", environment=environment)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def producer(settings: KafkaSettings) -> Iterator[EventProducer]:
    producer = EventProducer(settings, message_timeout_ms=round(DEADLINE_S * 1000))
    yield producer
    producer.close()


@pytest.fixture
def log(submissions: Aggregate, producer: EventProducer) -> None:
    """One submission that is finished, with facts that come too late; one that waits; and rubbish."""
    facts: list[tuple[str, SubmissionFact]] = [
        ("done", request(b'{"run": "echo hello"}')),
        ("done", Started(attempt=1, worker="w")),
        ("done", Started(attempt=2, worker="w")),
        ("done", FINISHED),
        ("done", FINISHED),
        ("done", request(b'{"run": "echo something else"}')),
        ("open", request(b'{"run": "sleep 1"}')),
    ]
    topic = submissions.family.events.name
    for id, fact in facts:
        producer.produce(encode_fact(topic, id, fact, FACTS, "test")).result(DEADLINE_S)
    rubbish: Headers = [("ce_type", b"envicutor.submission.started.v1"), ("ce_source", b"/envicutor/test")]
    producer.produce(Record(topic, b"done", b"rubbish", rubbish)).result(DEADLINE_S)


@pytest.fixture
def folded(settings: KafkaSettings, submissions: Aggregate, log: None, store_processor: object) -> Findings:
    """What an audit finds when the store processor has caught up."""

    def look() -> Findings:
        findings = verify(settings, submissions, Seals(), SOON_S, print)
        assert findings.clean
        return findings

    def is_folded(findings: Findings) -> bool:
        return findings.stored == 2 and not findings.waiting

    found: Findings = eventually(look, "the store processor has folded the log", enough=is_folded)
    return found


def test_store_of_the_real_processor_is_clean(folded: Findings) -> None:
    assert (folded.events, folded.unreadable, folded.unfinished) == (7, 1, 1)


def test_history_says_what_was_refused_and_why(
    settings: KafkaSettings, submissions: Aggregate, log: None
) -> None:
    history = read_history(settings, submissions, "done")

    assert [(event.attempt, event.worker, event.disposition) for event in history] == [
        (None, None, "accepted"),
        (1, "w", "accepted"),
        (2, "w", "refused: of attempt 2, now at 1"),
        (1, "w", "accepted"),
        (1, "w", "refused: late: already finished"),
        (None, None, "refused: conflict: the id was used before with other content"),
        (None, None, "refused: unreadable: not a Started: Invalid JSON: expected value at line 1 column 1"),
    ]
    assert {event.source for event in history} == {"/envicutor/test"}
    assert read_history(settings, submissions, "nobody") == []


@pytest.mark.usefixtures("folded")
def test_popped_and_not_leased_is_stuck_until_it_is_repaired(
    settings: KafkaSettings, submissions: Aggregate, producer: EventProducer, environment: dict[str, str]
) -> None:
    queue = submissions.family.queue.name
    consumer = Consumer(consumer_config(settings, submissions.family.work_group))
    ends = {message.partition() or 0: (message.offset() or 0) + 1 for message in read_to_end(settings, queue)}
    consumer.commit(offsets=[TopicPartition(queue, p, end) for p, end in ends.items()], asynchronous=False)
    consumer.close()
    trim(settings, submissions.family)

    assert verify(settings, submissions, Seals(), SOON_S, print).unowned_attempts == [("open", 1)]

    def say(kind: str) -> None:
        lease = Lease.model_validate({"kind": kind, "id": "open", "attempt": 1, "worker": "w"})
        topic = submissions.family.leases.name
        producer.produce(Record(topic, b"open", encode(lease), [])).result(DEADLINE_S)

    say("taken")
    assert verify(settings, submissions, Seals(), DEADLINE_S, print).clean
    say("released")
    assert verify(settings, submissions, Seals(), SOON_S, print).unowned_attempts == [("open", 1)]

    mended = CliRunner().invoke(app, ["audit", "verify", "--repair"], env=environment)
    assert (mended.exit_code, mended.stdout.splitlines()[-1]) == (1, "not clean")
    assert verify(settings, submissions, Seals(), SOON_S, print).clean
    queued = [json.loads(message.value() or "") for message in read_to_end(settings, queue)]
    assert [(work["id"], work["attempt"]) for work in queued] == [("open", 2)]


@pytest.mark.usefixtures("folded")
def test_tampered_store_is_found(
    settings: KafkaSettings,
    submissions: Aggregate,
    producer: EventProducer,
    store_processor: Process,
    environment: dict[str, str],
) -> None:
    audit = ["audit", "verify"]
    clean = CliRunner().invoke(app, audit, env=environment)
    assert (clean.exit_code, clean.stdout.splitlines()[-1]) == (0, "clean")
    store_processor.send_signal(signal.SIGTERM)
    store_processor.wait(DEADLINE_S)
    store = submissions.family.store.name
    rows = {message.key(): message.value() for message in read_to_end(settings, store)}
    original = rows[b"done"]
    assert isinstance(original, bytes)
    tampered = original.replace(b"hello", b"hallo", 1)
    producer.produce(Record(store, b"done", tampered, []), partition=0).result(DEADLINE_S)

    findings = verify(settings, submissions, Seals(), SOON_S, print)

    assert [(d.id, d.expected, d.found) for d in findings.differences] == [("done", original, tampered)]
    at = original.index(b"hello") + 1
    assert describe(findings.differences[0])[0] == f"done differs from byte {at} on"
    dirty = CliRunner().invoke(app, audit, env=environment)
    assert (dirty.exit_code, dirty.stdout.splitlines()[-1]) == (1, "not clean")
    assert "submissions: the store differs from the log in 1 records" in dirty.stdout


@pytest.mark.usefixtures("folded")
def test_the_past_is_told_by_the_log_alone(
    settings: KafkaSettings, environment: dict[str, str], tmp_path: Path
) -> None:
    def run(*arguments: str) -> list[dict[str, Any]]:
        result = CliRunner().invoke(app, ["audit", *arguments], env=environment)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    exported = run("export")
    assert [event["id"] for event in exported] == ["done"] * 6 + ["open", "done"]
    since = exported[3]["time"]
    assert run("export", "--from", since) == [event for event in exported if event["time"] >= since]
    assert run("export", "--to", "2000-01-01") == []
    parquet = str(tmp_path / "events.parquet")
    run("export", "--format", "parquet", "--output", parquet)
    question = "SELECT id, fact ->> 'outcome', epoch_ms(time) FROM read_parquet(?) WHERE refused IS NULL"
    told = duckdb.execute(f"{question} ORDER BY time", [parquet]).fetchall()
    accepted = [event for event in exported if event["refused"] is None]
    assert {(id, time_ms) for id, _, time_ms in told} == {
        (event["id"], milliseconds(event["time"])) for event in accepted
    }
    assert [outcome for _, outcome, _ in told if outcome] == ["ok"]
    store = {m.key(): m.value() for m in read_to_end(settings, catalogue(settings).submissions.store.name)}
    documented = re.findall(r"```sql\n(.*?)```", AUDIT_MD.read_text(), re.DOTALL)
    assert len(documented) == 3
    for question in documented:
        duckdb.execute(question.replace("events.parquet", parquet)).fetchall()
    now = run("at", "9999-01-01", "done")
    assert [row["state"] for row in now] == [json.loads(store[b"done"] or "")]
    nothing = CliRunner().invoke(app, ["audit", "at", "2000-01-01", "done"], env=environment)
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert CliRunner().invoke(app, ["audit", "at", "then"], env=environment).exit_code == 2
