"""A request that is made to cost much delays others about as little as an ordinary one of the same size."""

import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from infra.kafka.ports import choose_free_port
from tests.integration.http.nodes import DEADLINE_S
from tests.support.costly_requests import BYTES, RATIO, costly, ordinary
from tests.support.polling import eventually
from tests.support.roles import running_roles
from tests.support.submissions import package_set
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.request.limits import KiB, MiB
from topics.settings import KafkaSettings

pytestmark = pytest.mark.xdist_group("http")

TRIES = 10


class Node:
    """An ingest node in a process of its own, whose loop no thread of the tests delays."""

    def __init__(self, port: int, pid: int) -> None:
        self._address = ("127.0.0.1", port)
        self._status = Path(f"/proc/{pid}/status")

    def peak_bytes(self) -> int:
        """The most memory that the process had so far."""
        (line,) = (line for line in self._status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * KiB

    def is_ready(self) -> bool:
        try:
            return self.post("/submissions", b'{"run": "true"}') == 202
        except OSError:
            return False

    def post(self, path: str, body: bytes) -> int:
        """The status of the answer."""
        with closing(HTTPConnection(*self._address, timeout=DEADLINE_S)) as connection:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status

    def stall_s(self, path: str, body: bytes) -> float:
        """The longest that `GET /health` took while this was asked for, and shortly after."""
        with self._asked_again_and_again() as took_s:
            self.post(path, body)
            time.sleep(0.02)  # what was accepted comes back from the log
        return max(took_s)

    @contextmanager
    def _asked_again_and_again(self) -> Iterator[list[float]]:
        took_s: list[float] = []
        stop = threading.Event()

        def ask() -> None:
            with closing(HTTPConnection(*self._address, timeout=DEADLINE_S)) as connection:
                while not stop.is_set():
                    started = time.perf_counter()
                    connection.request("GET", "/health")
                    assert connection.getresponse().read() == b'{"status":"ok"}'
                    took_s.append(time.perf_counter() - started)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            eventually(lambda: len(took_s) > 3, "the node answers")
            yield took_s
        finally:
            stop.set()
            thread.join(DEADLINE_S)


@pytest.fixture(scope="module")
def node(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder: Path = tmp_path_factory.mktemp("costly")
    prefix, port = f"test-{uuid.uuid4().hex[:8]}-", choose_free_port()
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix, data_dir=folder)
    topics = catalogue(settings)
    ensure_topics(settings, topics.topics())
    with closing(EventProducer(settings)) as producer:
        producer.produce(package_set(topics)).result(DEADLINE_S)
    with running_roles(settings, "ingest", http_port=port) as [process]:
        node = Node(port, process.pid)
        eventually(node.is_ready, "the node accepts submissions")
        yield node


def batch(request: bytes) -> bytes:
    return b"[" + b",".join([request] * 4) + b"]"


def test_no_request_takes_much_more_memory_than_an_ordinary_one(node: Node) -> None:
    node.post("/submissions", ordinary(BYTES - 2))
    before = node.peak_bytes()
    for request in costly(BYTES - 2).values():
        node.post("/submissions", request)
    assert node.peak_bytes() - before < 100 * MiB


IN_A_BATCH = ("numbers as tags", "bad names of variables", "variables", "unknown fields", "files", "folders")


@pytest.mark.parametrize("path", ["/submissions", "/submissions/batch"])
def test_no_request_stalls_others_much_longer_than_an_ordinary_one(node: Node, path: str) -> None:
    is_batch = path.endswith("batch")
    bodies = {"ordinary": ordinary(BYTES - 2)} | costly(BYTES - 2)
    if is_batch:
        bodies = {name: batch(bodies[name]) for name in ("ordinary", *IN_A_BATCH)}
    usual = bodies.pop("ordinary")

    def ratio(body: bytes) -> float:
        """Of the shortest stalls, measured in turns: what the machine does besides makes some longer."""
        usual_s, costly_s = math.inf, math.inf
        for _ in range(TRIES):
            usual_s = min(usual_s, node.stall_s(path, usual))
            costly_s = min(costly_s, node.stall_s(path, body))
            if costly_s <= RATIO * usual_s:
                break
        return costly_s / usual_s

    found = {name: round(ratio(body), 1) for name, body in bodies.items()}
    assert {name: each for name, each in found.items() if each > RATIO} == {}
