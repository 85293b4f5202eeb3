"""`envicutor up --secure`: every role is a user with few rights, and so is whoever hands in programs."""

import base64
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from tests.system.cluster.running import ANSWER_S, Cluster, eventually
from topics.catalogue import REQUEST_GROUP
from topics.codec import decode
from topics.reading import committed_offsets, read_to_end
from topics.submissions.state import Answer

pytestmark = pytest.mark.xdist_group("secure")

SCHOOL = "school"
AHEAD = 20
"""How many requests from Kafka may be unfinished."""
FLOOD = 1_000


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


def test_everybody_can_do_what_they_must(secure: Cluster) -> None:
    """The base environment was built, or it would not be ready; health checkers judge, an operator audits."""
    answer = secure.answer({"run": "echo over HTTP"})
    assert answer["outcome"] == "ok", answer
    for family in (secure.topics.submissions, secure.topics.dependencies):
        ticks = (message for message in read_to_end(secure.kafka, family.leases.name) if not message.key())
        assert next(ticks, None), "its health checker ticks"
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
    keys = [secure.secrets / "ca.key", secure.secrets / "broker.pem"]
    secrets = [file.read_bytes().strip() for file in passwords]
    secrets += [line for key in keys for line in _key_lines(key.read_bytes())]
    assert len(secrets) > len(passwords)
    for file in (*passwords, *keys):
        assert stat.S_IMODE(file.stat().st_mode) == 0o400, file
    seen = [file for file in _files(folder, {*passwords, *keys}) if _holds(file, secrets)]
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


def _holds(file: Path, secrets: list[bytes]) -> bool:
    with suppress(OSError):
        content = file.read_bytes()
        return any(secret in content for secret in secrets)
    return False


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
