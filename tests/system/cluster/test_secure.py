"""`envicutor up --secure`: every role is a user with few rights, and so is whoever hands in programs."""

import base64
import gzip
import random
import re
import secrets
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer

from tests.support.polling import eventually
from tests.system.cluster import raw_kafka
from tests.system.cluster.running import ANSWER_S, Cluster
from topics.catalogue import REQUEST_GROUP
from topics.kafka.codec import decode
from topics.kafka.scan import committed_offsets, read_to_end
from topics.submissions.state import Answer

pytestmark = pytest.mark.xdist_group("secure")

SCHOOL = "school"
AHEAD = 20
"""How many requests from Kafka may be unfinished."""
FLOOD = 1_000
GOOD = b'{"run": "true"}'
TOO_LARGE_OR_INVALID = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-secure-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def secure(folder: Path, cache_dir: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder, cache_dir, "--secure", settings={"MAX_UNFINISHED_FROM_KAFKA": AHEAD})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def school(secure: Cluster, folder: Path) -> dict[str, str]:
    """How another system's client connects; nothing of ours."""
    password = folder / "school.password"
    added = secure.command("producers", "add", SCHOOL, str(password), user="admin")
    assert added.returncode == 0, added.stderr
    return {
        "bootstrap.servers": secure.kafka.bootstrap_servers,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(secure.secrets / "ca.pem"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": SCHOOL,
        "sasl.password": password.read_text(),
    }


def test_a_producer_hands_in_a_program_and_is_told_the_answer(
    secure: Cluster, school: dict[str, str]
) -> None:
    replies = Consumer(school | {"group.id": "school.one", "auto.offset.reset": "earliest"})
    replies.subscribe(["replies.school"])
    producer = Producer(school)
    request = b'{"run": "echo hello"}'
    producer.produce("submissions.requests", request, b"one", headers={"reply_topic": b"replies.school"})
    assert producer.flush(ANSWER_S) == 0
    message = eventually(lambda: replies.poll(0.1), "the answer is told", ANSWER_S)
    replies.close()
    assert message.error() is None
    answer = decode(Answer, message.value())
    assert (answer.id, answer.outcome, answer.run[0].stdout) == ("one", "ok", "hello\n")
    # Ingest reads the store by itself, perhaps a moment later than whoever is told.
    eventually(lambda: secure.get("one")["outcome"] == "ok", "the answer is seen over HTTP", ANSWER_S)


def has_tick(secure: Cluster, leases: str) -> bool:
    return any(not message.key() for message in read_to_end(secure.kafka, leases))


def test_everybody_can_do_what_they_must(secure: Cluster) -> None:
    """The base environment was built, or it would not be ready; health checkers judge, an operator audits."""
    answer = secure.answer({"run": "echo over HTTP"})
    assert answer["outcome"] == "ok", answer
    for family in (secure.topics.submissions, secure.topics.dependencies):
        eventually(partial(has_tick, secure, family.leases.name), "its health checker ticks", ANSWER_S)
    verified = secure.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert secure.command("dead-letters", "list").returncode == 0
    listed = secure.command("producers", "list", user="admin")
    assert listed.stdout.split() in ([], [SCHOOL])
    refused = secure.command("producers", "list")
    assert refused.returncode == 7
    assert "operator may not change users and rights" in refused.stderr


@pytest.mark.usefixtures("school")
def test_no_secret_is_seen(secure: Cluster, folder: Path) -> None:
    """Not in a list of processes, an environment, or any file that is not its own."""
    passwords = [folder / "school.password", *secure.secrets.glob("*.password")]
    keys = [secure.secrets / "ca.key", *(secure.secrets.glob("[bm]*.pem"))]
    hidden = [file.read_bytes().strip() for file in passwords]
    hidden += [line for key in keys for line in _key_lines(key.read_bytes())]
    assert len(hidden) > len(passwords)
    for file in (*passwords, *keys):
        assert stat.S_IMODE(file.stat().st_mode) == 0o400, file
    seen = [file for file in _files(folder, {*passwords, *keys}) if _holds(file, hidden)]
    assert seen == []


def _key_lines(pem: bytes) -> list[bytes]:
    [key] = re.findall(rb"-----BEGIN PRIVATE KEY-----\n(.*?)\n-----END", pem, re.DOTALL)
    assert base64.b64decode(key)
    return list(key.splitlines())


def _files(folder: Path, but: set[Path]) -> Iterator[Path]:
    for process in Path("/proc").glob("[1-9]*"):
        yield from (process / "cmdline", process / "environ")
    logs_and_settings = ("*.log*", "*.out", "*.properties", "*.env", "*.pid")
    yield from (file for kind in logs_and_settings for file in folder.rglob(kind) if file not in but)


def _holds(file: Path, hidden: list[bytes]) -> bool:
    with suppress(OSError):
        content = file.read_bytes()
        return any(secret in content for secret in hidden)
    return False


@contextmanager
def unharmed(secure: Cluster, school: dict[str, str]) -> Iterator[None]:
    """Within it and afterwards the same broker runs; then submissions of HTTP and Kafka are answered."""
    eventually(partial(is_reachable, school), "Kafka listens", ANSWER_S)
    pid = secure.pid("broker-0")
    yield
    answer = secure.answer({"run": "echo through"})
    assert (answer["outcome"], answer["run"][0]["stdout"]) == ("ok", "through\n")
    assert secure.pid("broker-0") == pid, "the broker was started again"
    id = f"through-{secrets.token_hex(4)}"
    assert handed_in(school, id) == [None]
    eventually(lambda: is_answered(secure, id), "what Kafka was given is answered", ANSWER_S)


def is_reachable(school: dict[str, str]) -> bool:
    with suppress(OSError, EOFError, AssertionError):
        raw_kafka.log_in(school).close()
        return True
    return False


def handed_in(school: dict[str, str], id: str, value: bytes = GOOD, **config: str) -> list[int | None]:
    """Produce one request; the error code of the delivery report, None for success."""
    reports: list[int | None] = []
    producer = Producer(school | {"message.timeout.ms": "30000"} | config)

    def delivered(error: KafkaError | None, _: object) -> None:
        reports.append(error.code() if error else None)

    producer.produce("submissions.requests", value, id, on_delivery=delivered)
    producer.flush(ANSWER_S)
    return reports


def is_answered(secure: Cluster, id: str) -> bool:
    answer = secure.http.get(f"/submissions/{id}")
    return answer.is_success and answer.json()["outcome"] == "ok"


@pytest.mark.parametrize(
    ("payload", "records"),
    [
        pytest.param(lambda: raw_kafka.varint(1 << 30) + b"\0\0", 1, id="a record that claims 1 GiB"),
        pytest.param(lambda: raw_kafka.record(b"bomb", bytes(300 << 20)), 1, id="300 MiB of zeros"),
        pytest.param(lambda: raw_kafka.record(b"", b"") * 8_000_000, 8_000_000, id="8 million records"),
    ],
)
def test_no_compressed_batch_ends_the_broker(
    secure: Cluster, school: dict[str, str], payload: Callable[[], bytes], records: int
) -> None:
    batch = raw_kafka.batch(gzip.compress(payload(), 1), codec=1, count=records)
    assert len(batch) < 4 << 20
    with unharmed(secure, school), raw_kafka.log_in(school) as connection, suppress(OSError, EOFError):
        assert raw_kafka.produce(connection, "submissions.requests", batch) in TOO_LARGE_OR_INVALID


@pytest.mark.parametrize("announced", [104_857_599, 19 << 20])
def test_a_producer_cannot_hold_the_brokers_memory(
    secure: Cluster, school: dict[str, str], announced: int
) -> None:
    with unharmed(secure, school), ExitStack() as connections:
        for _ in range(12):
            with suppress(OSError, EOFError):
                connection = connections.enter_context(raw_kafka.log_in(school))
                connection.sendall(struct.pack(">ih", announced, 0))
        assert handed_in(school, f"meanwhile-{announced}") == [None]


def test_nobody_without_a_login_ends_or_stalls_the_broker(secure: Cluster, school: dict[str, str]) -> None:
    with unharmed(secure, school), ExitStack() as connections:
        for _ in range(600):
            with suppress(OSError):
                connection = raw_kafka.connect(school["bootstrap.servers"], school["ssl.ca.location"])
                connections.enter_context(connection)
                connection.sendall(struct.pack(">i", 524_287))
        assert handed_in(school, "meanwhile") == [None]


def test_batches_of_all_codecs_are_handled(secure: Cluster, school: dict[str, str]) -> None:
    """Several requests in each; a request that is too large is refused, with the reason."""
    large = random.Random(0).randbytes(3 << 20)
    ids = []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        producer = Producer(school | {"compression.type": codec, "linger.ms": "50"})
        for number in range(4):
            ids.append(f"{codec}-{number}")
            producer.produce("submissions.requests", GOOD, ids[-1])
        assert producer.flush(ANSWER_S) == 0
        compressing = {"compression.type": codec, "message.max.bytes": "9000000"}
        assert handed_in(school, "large", large, **compressing) == [KafkaError.MSG_SIZE_TOO_LARGE]
    for id in ids:
        eventually(partial(is_answered, secure, id), f"{id} is answered", ANSWER_S)


def test_a_flood_from_kafka_keeps_nobody_from_http(secure: Cluster, school: dict[str, str]) -> None:
    """What floods waits in its topic; of it, few stand before what HTTP accepts."""
    flood = Producer(school)
    for number in range(FLOOD):
        flood.produce("submissions.requests", b'{"run": "sleep 0.05"}', f"flood-{number}".encode())
    assert flood.flush(ANSWER_S) == 0
    answer = secure.answer({"run": "echo through"})
    assert (answer["outcome"], answer["run"][0]["stdout"]) == ("ok", "through\n")
    requests = secure.topics.requests.name
    handlers = secure.kafka_as("request-handler", secure.kafka.bootstrap_servers)
    handled = sum(committed_offsets(handlers, REQUEST_GROUP, requests).values())
    assert handled < FLOOD, "the flood still waits"
