"""The sealer on a real broker, and what it finds when somebody writes the log anew."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner, Result

from infra.cli import app
from tests.support.polling import eventually
from tests.support.roles import Process, kill, role_environment, start_role
from tests.support.submissions import request
from topics.audit.sealed import Inspection, read_seals
from topics.audit.sealed import Sealing as Sealed
from topics.audit.seals import Seal
from topics.audit.signing import private_key, public_key, public_key_file
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection, producer_config
from topics.kafka.codec import decode, encode_fact, headers
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS

DEADLINE_S = 60.0
EVENT = request()


class Sealing:
    """Topics, one sealer at a time or two, and an auditor."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka, self.topics = kafka, catalogue(kafka)
        self.events = self.topics.submissions.events.name
        ensure_topics(kafka, self.topics.topics())
        self.environment = role_environment(kafka, seal_period_s=0.2, lease_timeout_s=2)
        self.processes: list[Process] = []

    def start(self) -> Process:
        self.processes.append(start_role("sealer", environment=self.environment))
        return self.processes[-1]

    def close(self) -> None:
        kill(self.processes)

    def say(self, *ids: str) -> None:
        producer = EventProducer(self.kafka)
        for id in ids:
            producer.produce(encode_fact(self.events, id, EVENT, FACTS, "test")).result(DEADLINE_S)
        producer.close()

    def seals(self) -> list[Seal]:
        return [decode(Seal, m.value()) for m in read_to_end(self.kafka, self.topics.seals.name)]

    def wait_sealed(self, events: int) -> None:
        eventually(
            lambda: sum(seal.records for seal in self.seals()) >= events, f"{events} events are sealed"
        )

    def inspect(self) -> Sealed:
        """What an audit says of the submissions' events."""
        key = public_key(public_key_file(self.kafka.data_dir))
        seals = read_seals(read_to_end(self.kafka, self.topics.seals.name), (key,))
        assert seals.flaws == []
        inspection = Inspection(self.topics.submissions.events, seals.chains, 0)
        for message in read_to_end(self.kafka, self.events):
            inspection.add(message)
        return inspection.finish()

    def rewrite(self, log: list[Message]) -> None:
        """The events as another topic of this name, with the times that they had."""
        admin = AdminClient(connection(self.kafka))
        admin.delete_topics([self.events])[self.events].result(DEADLINE_S)
        config = {"message.timestamp.type": "CreateTime"}
        eventually(lambda: self.events not in admin.list_topics(timeout=10).topics, "the topic is deleted")
        admin.create_topics([NewTopic(self.events, 1, 1, config=config)])[self.events].result(DEADLINE_S)
        producer = Producer(producer_config(self.kafka, message_timeout_ms=round(DEADLINE_S * 1000)))
        for message in log:
            key, value, time_ms = message.key(), message.value(), message.timestamp()[1]
            producer.produce(self.events, value, key, 0, timestamp=time_ms, headers=headers(message))
        assert producer.flush(DEADLINE_S) == 0


@pytest.fixture
def sealing(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Sealing]:
    sealing = Sealing(KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path))
    yield sealing
    sealing.close()


def test_chains_go_on_after_a_kill_and_do_not_fork_when_two_seal(sealing: Sealing) -> None:
    first = sealing.start()
    sealing.say("a", "b")
    sealing.wait_sealed(2)
    first.kill()
    first.wait()
    sealing.say("c")
    second = sealing.start()
    sealing.wait_sealed(3)
    sealing.start()
    said, deadline = 3, time.monotonic() + DEADLINE_S
    while second.poll() is None:  # it notices when it seals
        assert time.monotonic() < deadline, "two seal side by side"
        sealing.say(f"d-{said}")
        said += 1
        time.sleep(0.2)
    sealing.wait_sealed(said)

    seals = sealing.seals()
    assert [seal.first_offset for seal in seals] == [0, *(seal.next_offset for seal in seals[:-1])]
    assert seals[-1].next_offset == sum(seal.records for seal in seals) == said
    found = sealing.inspect()
    assert (found.flaws, found.unsealed) == ([], 0)


def altered(log: list[Message]) -> list[Message]:
    """The third is of another request."""
    third = log[2]
    value = (third.value() or b"").replace(b"true", b"evil")
    other = Message(
        third.topic(), 0, third.offset(), third.key(), value, headers(third), timestamp=third.timestamp()
    )
    return [*log[:2], other, *log[3:]]


def test_a_log_that_was_written_anew_is_found(sealing: Sealing) -> None:
    sealing.say(*"abcdef")
    sealer = sealing.start()
    sealing.wait_sealed(6)
    sealer.terminate()
    assert sealer.wait(DEADLINE_S) == 0
    sealing.say("g")
    original = list(read_to_end(sealing.kafka, sealing.events))

    sealing.rewrite(original)
    assert (sealing.inspect().flaws, sealing.inspect().unsealed) == ([], 1)
    for log, what in (
        (altered(original), "a record was altered or moved"),
        ([*original[:2], *original[3:]], "a record was altered or moved"),
        ([*original[:2], original[3], original[2], *original[4:]], "a record was altered or moved"),
        (original[:4], "6 records were sealed, 4 are there"),
    ):
        sealing.rewrite(log)
        flaw = f"{sealing.events}/0 is not as it was sealed in offsets 0 to 5: {what}"
        assert sealing.inspect().flaws == [flaw]


def test_seals_need_a_key_which_others_cannot_read(sealing: Sealing, tmp_path: Path) -> None:
    sealer = sealing.start()
    sealing.say("a")
    sealing.wait_sealed(1)
    sealer.terminate()
    sealer.wait(DEADLINE_S)

    def run(*arguments: str, folder: Path) -> Result:
        environment = sealing.environment | {"ENVICUTOR_DATA_DIR": str(folder)}
        return CliRunner().invoke(app, ["audit", *arguments], env=environment)

    assert (tmp_path / "sealer" / "private-key.pem").stat().st_mode & 0o777 == 0o600
    public, elsewhere = tmp_path / "public.pem", tmp_path / "elsewhere"
    public.write_text(run("key", folder=tmp_path).stdout)
    assert run("key", folder=elsewhere).exit_code == 2
    without = run("verify", folder=elsewhere)
    assert (without.exit_code, "--public-key" in without.stderr) == (2, True)
    given = run("verify", "--public-key", str(public), folder=elsewhere)
    assert "is sealed before offset 1" in given.stdout
    private_key(elsewhere)
    foreign = run("verify", folder=elsewhere)
    assert (foreign.exit_code, "none of the keys signed it" in foreign.stdout) == (1, True)
