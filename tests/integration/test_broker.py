"""The broker that everything else relies on: its settings as clients see them, and its life as a process."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.kafka.embedded import Distribution, EmbeddedKafka, KafkaStartError
from infra.kafka.install import install_kafka
from infra.kafka.keeper import keep_alive
from infra.kafka.ports import is_free
from tests.support.polling import until
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record
from topics.kafka.liveness import BrokersLostError, with_liveness_check
from topics.kafka.reachability import Reachability
from topics.settings import KafkaSettings

DEADLINE_S = 120.0
STOP_S = 10.0
"""What a whole system has to stop."""
AWAY_S = 5.0
MEBIBYTE = 1024 * 1024


def create_topic(servers: str, name: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(DEADLINE_S)


def transaction(servers: str, name: str) -> Producer:
    """A producer inside of a transaction."""
    producer = Producer(
        {"bootstrap.servers": servers, "transactional.id": name, "message.max.bytes": 17 * MEBIBYTE}
    )
    producer.init_transactions(DEADLINE_S)
    producer.begin_transaction()
    return producer


def read(servers: str, topic: str, group: str, count: int) -> list[Message]:
    """The first committed records of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    try:
        return consumer.consume(count, DEADLINE_S)
    finally:
        consumer.close()


def values(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def test_transaction_is_read_with_the_time_of_the_append(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "events"
    create_topic(kafka, topic)
    producer = transaction(kafka, topic_prefix + "writer")
    for number in range(3):
        producer.produce(topic, value=str(number), timestamp=1)
    producer.commit_transaction(DEADLINE_S)

    messages = read(kafka, topic, topic_prefix + "reader", 3)

    assert values(messages) == [b"0", b"1", b"2"]
    assert {message.timestamp()[0] for message in messages} == {TIMESTAMP_LOG_APPEND_TIME}
    assert all(message.timestamp()[1] > 1 for message in messages)


def test_largest_records_fit(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "large"
    create_topic(kafka, topic, **{"max.message.bytes": str(17 * MEBIBYTE)})
    large = os.urandom(16 * MEBIBYTE)
    producer = transaction(kafka, topic_prefix + "writer")
    producer.produce(topic, value=large)
    producer.commit_transaction(DEADLINE_S)

    assert values(read(kafka, topic, topic_prefix + "reader", 1)) == [large]


def test_topics_are_made_only_on_purpose(kafka: str, topic_prefix: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "topic.metadata.propagation.max.ms": 0})
    errors: list[KafkaError | None] = []
    producer.produce(topic_prefix + "unknown", b"", on_delivery=lambda error, _: errors.append(error))
    producer.flush(DEADLINE_S)

    assert [error and error.code() for error in errors] == [KafkaError.UNKNOWN_TOPIC_OR_PART]


@pytest.fixture(scope="module")
def distribution(cache_dir: Path) -> Distribution:
    return install_kafka(cache_dir)


@pytest.fixture
def broker(tmp_path: Path, distribution: Distribution) -> Iterator[EmbeddedKafka]:
    """A broker of this test alone, not started yet."""
    broker = EmbeddedKafka(tmp_path / "kafka", distribution)
    yield broker
    broker.kill()


def test_killed_broker_keeps_what_was_acknowledged(broker: EmbeddedKafka) -> None:
    broker.start()
    servers, cluster_id = broker.bootstrap_servers, broker.cluster_id
    create_topic(servers, "events")
    committed = transaction(servers, "one")
    committed.produce("events", b"committed")
    committed.commit_transaction(DEADLINE_S)
    left_open = transaction(servers, "two")
    left_open.produce("events", b"left open")
    left_open.flush(DEADLINE_S)

    broker.kill()
    broker.start()
    after = transaction(servers, "two")
    after.produce("events", b"after")
    after.commit_transaction(DEADLINE_S)

    assert (broker.bootstrap_servers, broker.cluster_id) == (servers, cluster_id)
    assert values(read(servers, "events", "reader", 2)) == [b"committed", b"after"]


def test_stop_ends_the_process_and_start_finds_the_data_again(broker: EmbeddedKafka) -> None:
    broker.start()
    create_topic(broker.bootstrap_servers, "events")

    broker.stop(DEADLINE_S)

    assert not broker.running
    assert is_free(broker.port)
    assert broker.process
    assert broker.process.returncode == 128 + signal.SIGTERM, "stopped by itself, not killed"

    broker.start()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    assert "events" in admin.list_topics(timeout=DEADLINE_S).topics


def test_while_a_killed_broker_is_started_again_the_event_loop_goes_on(
    broker: EmbeddedKafka, tmp_path: Path
) -> None:
    broker.start()
    killed = broker.process
    assert killed
    pid_file = tmp_path / "broker.pid"

    async def test() -> None:
        keeping = asyncio.create_task(keep_alive(broker, pid_file))
        killed.kill()
        await until(lambda: broker.process is not killed)
        assert is_free(broker.port), "a broker that had been waited for would listen"
        await until(lambda: not is_free(broker.port))
        assert broker.process
        assert int(pid_file.read_text()) == broker.process.pid
        keeping.cancel()

    asyncio.run(asyncio.wait_for(test(), DEADLINE_S))


def test_a_broker_that_is_being_started_again_can_be_stopped_at_once(
    broker: EmbeddedKafka, tmp_path: Path
) -> None:
    broker.start()
    killed = broker.process
    assert killed

    async def test() -> None:
        keeping = asyncio.create_task(keep_alive(broker, tmp_path / "broker.pid"))
        killed.kill()
        await until(lambda: broker.process is not killed)
        keeping.cancel()
        broker.kill()

    started = time.monotonic()
    asyncio.run(asyncio.wait_for(test(), DEADLINE_S))
    assert time.monotonic() - started < STOP_S


def test_a_client_whose_broker_is_away_is_quiet_and_finds_it_again(
    broker: EmbeddedKafka, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "topics.kafka.liveness.OF_THIS_PROCESS", Reachability()
    )  # others may have lost theirs
    caplog.set_level("INFO")
    broker.start()
    create_topic(broker.bootstrap_servers, "events")
    producer = EventProducer(KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    producer.produce(Record("events", b"id", b"before", [])).result(DEADLINE_S)

    broker.kill()
    acknowledgement = producer.produce(Record("events", b"id", b"meanwhile", []))
    time.sleep(AWAY_S)
    assert not acknowledgement.done()
    broker.start()

    acknowledgement.result(DEADLINE_S)
    deadline = time.monotonic() + DEADLINE_S
    while "Kafka is reachable again" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.1)
    producer.close()
    logged = [record.message for record in caplog.records if record.name == "topics.kafka.reachability"]
    assert len(logged) == 2
    assert f"Kafka at {broker.bootstrap_servers} is not reachable" in logged[0]
    assert logged[1] == "Kafka is reachable again"


def test_data_in_use_is_refused(broker: EmbeddedKafka, distribution: Distribution) -> None:
    broker.start()
    with pytest.raises(KafkaStartError, match=r"runs on .* already"):
        EmbeddedKafka(broker.data_dir, distribution).start()
    assert broker.running


def test_port_in_use_is_refused(kafka: str, tmp_path: Path, distribution: Distribution) -> None:
    port = int(kafka.rpartition(":")[2])
    with pytest.raises(KafkaStartError, match=f"port {port} .* is in use"):
        EmbeddedKafka(tmp_path / "kafka", distribution, port=port).start()


def test_broker_that_cannot_start_says_why(tmp_path: Path, distribution: Distribution) -> None:
    broker = EmbeddedKafka(tmp_path / "kafka", distribution, heap_bytes=1024)
    with pytest.raises(KafkaStartError, match="Too small"):
        broker.start()
    assert not broker.running


def test_broker_gives_up_privileges_and_dies_with_its_starter(open_folder: Path, cache_dir: Path) -> None:
    starter = subprocess.run(
        [sys.executable, "-c", START_AND_DIE, open_folder / "kafka", cache_dir],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert starter.returncode == -signal.SIGKILL, starter.stderr
    pid, status = starter.stdout.split("\n", 1)
    assert "NoNewPrivs:\t1\n" in status
    if os.geteuid() == 0:
        nobody = "\t65534" * 4
        assert f"Uid:{nobody}\n" in status
        assert "Groups:\t \n" in status
    assert wait_for_end(int(pid))


START_AND_DIE = """
import os, signal, sys
from pathlib import Path
from infra.kafka.embedded import EmbeddedKafka
from infra.kafka.install import install_kafka

data_dir, cache_dir = map(Path, sys.argv[1:])
broker = EmbeddedKafka(data_dir, install_kafka(cache_dir), user="nobody" if os.geteuid() == 0 else None)
broker.start()
print(broker.process.pid)
print(Path(f"/proc/{broker.process.pid}/status").read_text(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    with TemporaryDirectory(prefix="envicutor-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def wait_for_end(pid: int) -> bool:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], DEADLINE_S)[0])
    finally:
        os.close(process)


def test_a_producer_that_begins_anew_loses_nothing(broker: EmbeddedKafka) -> None:
    broker.start()
    create_topic(broker.bootstrap_servers, "events")
    producer = EventProducer(KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
    producer.produce(Record("events", b"id", b"before", [])).result(DEADLINE_S)
    broker.kill()
    waiting = [producer.produce(Record("events", b"id", b"%d" % number, [])) for number in range(3)]
    producer._recreate(BrokersLostError("as far as it knows"))
    broker.start()
    assert [waited.result(DEADLINE_S).value() for waited in waiting] == [b"0", b"1", b"2"]
    producer.close()


def test_a_client_is_lost_when_others_find_the_broker_again_and_again(broker: EmbeddedKafka) -> None:
    broker.start()
    servers = {"bootstrap.servers": broker.bootstrap_servers}
    look = with_liveness_check(servers)["stats_cb"]
    without, connected = '{"brokers":{}}', '{"brokers":{"a":{"state":"UP"}}}'
    for statistics in (without, without, connected, without, without):
        look(statistics)
    with pytest.raises(BrokersLostError):
        look(without)
    broker.kill()
    away = with_liveness_check(servers)["stats_cb"]
    for _ in range(5):
        away(without)
