"""Roles started by hand: what they log while Kafka is not as they need it, and that SIGTERM ends them."""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from operator import not_
from pathlib import Path

import pytest

from infra.kafka.embedded import EmbeddedKafka
from infra.kafka.install import install_kafka
from infra.kafka.ports import LOOPBACK, choose_free_port
from processors.sandbox.mounts import mounts_below
from processors.webhooks.signing import new_secret
from tests.support.polling import eventually
from tests.support.roles import environment_of
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import encode_fact
from topics.kafka.scan import read_to_end
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS

END_S = 10.0
"""What is promised: from SIGTERM to the end of a role."""
SOON_S = 1.0
"""What is promised: from the start of a role's process to the line that names what it waits for."""
SAYS_S = 60.0
"""Ten times what ten roles that start at a time need for their first lines."""
MOST_LINES = 12
"""What a role may log of its start, of a broker that goes away and comes back, and of its own end."""

NEEDS = {
    ("ingest",): "submissions.events",
    ("request-handler",): "submissions.requests",
    ("submission-store",): "submissions.store",
    ("build-store",): "dependencies.store",
    ("worker",): "submissions.queue",
    ("cache-builder",): "dependencies.queue",
    ("sealer",): "audit.seals",
    ("webhook-sender",): "webhooks.pending",
    ("health-checker", "submissions", "dependencies"): "submissions.leases",
}
"""Every role, with a topic that it cannot do without."""
ALL = tuple(NEEDS)
READY = {
    ("ingest",): "listens on",
    ("request-handler",): "request-handler: waits for a package set",
    ("submission-store",): "restored partitions",
    ("build-store",): "restored partitions",
    ("worker",): "takes work from submissions.queue",
    ("cache-builder",): "takes work from dependencies.queue",
    ("sealer",): "sealing records of",
    ("webhook-sender",): "sending webhooks to",
    ("health-checker", "submissions", "dependencies"): "owns partitions of submissions.leases",
}
"""What they log once they work."""


class Role:
    """The process of a role, as an operator starts it."""

    def __init__(
        self, arguments: tuple[str, ...], folder: Path, kafka: KafkaSettings, cache_dir: Path
    ) -> None:
        self.arguments = arguments
        self.data = folder / "-".join(arguments)
        self._log = folder / f"{'-'.join(arguments)}.log"
        secret = folder / "webhook.secret"
        secret.write_text(f"{new_secret()}\n")
        settings = {
            "BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "TOPIC_PREFIX": kafka.topic_prefix,
            "DATA_DIR": self.data,
            "CACHE_DIR": cache_dir,
            "NIX_ROOT": folder / "nix",
            "SANDBOX_CACHE_DIR": cache_dir,
            "SANDBOX_STATE_DIR": folder / "sandboxes",
            "SANDBOX_FIRST_UID": 1_930_000_000 + os.getpid() % 1000 * 10_000,
            "HTTP_PORT": choose_free_port(),
            "WEBHOOK_ALLOW": '["127.0.0.1:9"]',
            "WEBHOOK_SECRET_FILE": secret,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", *arguments],
                env=environment_of(**settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> float | None:
        """Send SIGTERM; how long it took to end, or None if it did not within what is promised."""
        started = time.monotonic()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
            return time.monotonic() - started
        return None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def roles(
    folder: Path, kafka: KafkaSettings, cache_dir: Path, which: tuple[tuple[str, ...], ...] = ALL
) -> Iterator[list[Role]]:
    """Processes of these roles; whatever is left of them is killed."""
    with ExitStack() as stack:
        started = []
        for arguments in which:
            started.append(Role(arguments, folder, kafka, cache_dir))
            stack.callback(started[-1].kill)
        yield started


def wait_until_logged(started: list[Role], expected: Callable[[Role], str], timeout_s: float) -> None:
    """Fails with every role that does not log what is expected of it."""

    def silent() -> dict[tuple[str, ...], str]:
        return {role.arguments: role.log[-2000:] for role in started if expected(role) not in role.log}

    eventually(silent, "no role is silent", timeout_s, enough=not_)


def end_all(started: list[Role]) -> None:
    """SIGTERM to all at once; fails with every role that does not end in time."""
    with ThreadPoolExecutor(len(started)) as pool:
        ended = list(pool.map(Role.end, started))
    late = {
        role.arguments: role.log[-2000:] for role, took in zip(started, ended, strict=True) if took is None
    }
    assert not late, f"roles that did not end within {END_S:g} s of SIGTERM: {late}"


def assert_ended_well(started: list[Role]) -> None:
    codes = {role.arguments: (role.exit_code, role.log[-2000:]) for role in started if role.exit_code != 0}
    assert not codes


def is_open(path: Path) -> bool:
    """Whether other accounts can read or enter it."""
    return bool(path.stat().st_mode & 0o007)


def assert_few_lines(started: list[Role]) -> None:
    many = {role.arguments: role.log[-3000:] for role in started if len(role.log.splitlines()) > MOST_LINES}
    assert not many, f"roles that log more than {MOST_LINES} lines: {many}"


@contextmanager
def listener_that_never_answers() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server((LOOPBACK, 0), backlog=1024) as server:
        yield server.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    yield choose_free_port()


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that all users can pass through, as sandboxes must."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-roles-"))
    folder.chmod(0o755)
    yield folder
    for mounted in mounts_below(folder):  # left by a worker that was killed
        subprocess.run(["umount", mounted], check=True)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("port_of", "which"),
    [(closed_port, ALL), (listener_that_never_answers, (("ingest",), ("worker",), ("sealer",)))],
    ids=["closed port", "no answer"],
)
def test_without_a_broker_roles_say_so_once_and_end(
    port_of: Callable[[], AbstractContextManager[int]],
    which: tuple[tuple[str, ...], ...],
    folder: Path,
    cache_dir: Path,
) -> None:
    with port_of() as port:
        kafka = KafkaSettings(bootstrap_servers=f"{LOOPBACK}:{port}")
        with roles(folder, kafka, cache_dir, which) as started:
            wait_until_logged(started, lambda _: f"waits for the broker at {LOOPBACK}:{port}", SAYS_S)
            time.sleep(2)  # what is repeated every second would be so by then
            end_all(started)
            assert_ended_well(started)
            assert_few_lines(started)


def test_without_topics_every_role_names_them_and_ends(kafka: str, folder: Path, cache_dir: Path) -> None:
    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix)
    started: list[Role] = []
    with ExitStack() as stack:
        for arguments in ALL:  # one at a time: that they do not delay each other is not promised
            [role] = stack.enter_context(roles(folder, settings, cache_dir, (arguments,)))
            started.append(role)
            wait_until_logged([role], lambda role: f"{prefix}{NEEDS[role.arguments]}", 10 * SOON_S)
        assert all(f" on {kafka}" in role.log for role in started)
        end_all(started)
        assert_ended_well(started)
        assert_few_lines(started)


@pytest.mark.soak
@pytest.mark.parametrize("arguments", ALL, ids=[arguments[0] for arguments in ALL])
def test_a_role_says_within_a_second_what_it_waits_for(
    kafka: str, folder: Path, cache_dir: Path, arguments: tuple[str, ...]
) -> None:
    """The median of three starts, which needs a machine that does nothing else."""
    prefix = f"test-{uuid.uuid4().hex[:8]}-"
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix)
    took_s = []
    for _ in range(3):
        begun = time.monotonic()
        with roles(folder, settings, cache_dir, (arguments,)) as started:
            wait_until_logged(started, lambda role: f"{prefix}{NEEDS[role.arguments]}", SAYS_S)
            took_s.append(time.monotonic() - begun)
            end_all(started)
    assert statistics.median(took_s) <= SOON_S, took_s


@pytest.fixture
def broker(folder: Path, cache_dir: Path) -> Iterator[EmbeddedKafka]:
    """One of the test's own, with all topics."""
    with EmbeddedKafka(folder / "kafka", install_kafka(cache_dir)) as broker:
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        ensure_topics(settings, catalogue(settings).topics())
        yield broker


def test_every_role_ends_while_the_broker_is_paused(
    broker: EmbeddedKafka, folder: Path, cache_dir: Path
) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    assert broker.process
    for role in ("ingest", "worker"):  # as an earlier version left it
        (folder / role / "views").mkdir(parents=True)
    with roles(folder, settings, cache_dir) as started:
        wait_until_logged(started, lambda role: READY[role.arguments], 2 * SAYS_S)
        assert [path for role in started for path in role.data.glob("*") if is_open(path)] == []
        broker.process.send_signal(signal.SIGSTOP)
        try:
            end_all(started)
        finally:
            broker.process.send_signal(signal.SIGCONT)
        assert_few_lines(started)


def test_roles_say_once_that_the_broker_is_gone_and_end_with_work_in_flight(
    broker: EmbeddedKafka, folder: Path, cache_dir: Path
) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    topics = catalogue(settings)
    # One of each shell. The worker waits for dependencies, which no other role builds here.
    which = (("ingest",), ("request-handler",), ("submission-store",), ("worker",), ("webhook-sender",))
    with roles(folder, settings, cache_dir, which) as started:
        wait_until_logged(started, lambda role: READY[role.arguments], 2 * SAYS_S)
        producer = EventProducer(settings)
        request = make_requested(*parse_request(b'{"run": "true"}', 1024), "test", source="http")
        record = encode_fact(topics.submissions.events.name, "in-flight", request, FACTS, "test")
        producer.produce(record).result(SAYS_S)

        def is_started() -> bool:
            return any(read_to_end(settings, topics.dependencies.events.name))  # the worker asked for them

        def is_stored() -> bool:
            rows = read_to_end(settings, topics.submissions.store.name)
            return any(b'"status":"started"' in bytes(row.value() or b"") for row in rows)

        eventually(is_started, "the worker asks for dependencies", SAYS_S)
        # A store processor in a transaction does not poll: it would end later, for want of progress.
        eventually(is_stored, "no transaction is open", SAYS_S)
        producer.close()
        broker.kill()
        says = f"Kafka at {broker.bootstrap_servers} is not reachable"
        wait_until_logged(started, lambda _: says, SAYS_S)
        time.sleep(2)  # what is repeated every second would be so by then
        end_all(started)
        lines = {role.arguments: role.log for role in started}
    assert all(log.count(says) == 1 for log in lines.values()), lines
    assert_few_lines(started)
    codes = {role.arguments: role.exit_code for role in started}
    assert codes.pop(("worker",)), "an attempt that Kafka knows nothing of has not ended well"
    assert "1 attempts are left to other processes" in lines[("worker",)]
    assert set(codes.values()) == {0}, (codes, lines)
