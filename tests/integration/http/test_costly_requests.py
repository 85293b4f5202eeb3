"""A request that is made to cost much delays others about as little as an ordinary one of the same size."""

import logging
import math
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import pytest
from confluent_kafka import Message

from infra.kafka.ports import choose_free_port
from tests.integration.http.nodes import DEADLINE_S
from tests.support.costly_requests import BYTES, RATIO, costly, ordinary
from tests.support.polling import eventually
from tests.support.roles import running_roles
from tests.support.submissions import package_set
from topics.catalogue import REQUEST_GROUP, catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record
from topics.kafka.scan import committed_offsets
from topics.request.limits import KiB, MiB
from topics.settings import KafkaSettings

log = logging.getLogger(__name__)
pytestmark = pytest.mark.xdist_group("http")

TRIES = 10
MEDIAN_OF = 5
RECORDS = 4
"""How many records are produced at a time."""


class Node:
    """An ingest node in a process of its own, whose loop no thread of the tests delays."""

    def __init__(self, kafka: KafkaSettings, port: int, pid: int) -> None:
        self.kafka = kafka
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
        with self.asked_again_and_again() as took_s:
            self.post(path, body)
            time.sleep(0.02)  # what was accepted comes back from the log
        return max(took_s)

    @contextmanager
    def asked_again_and_again(self) -> Iterator[list[float]]:
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
        node = Node(settings, port, process.pid)
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


PATHS = pytest.mark.parametrize("path", ["/submissions", "/submissions/batch"])


@PATHS
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


def exceeding(usual_s: Callable[[], float], costly_s: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Return what stalls for more than `RATIO` times as long: of medians of what is measured in turns."""
    ratios = {}
    for name, stall_s in costly_s.items():
        pairs = [(usual_s(), stall_s()) for _ in range(MEDIAN_OF)]
        usual, found = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratios[name] = round(found / usual, 1)
    highest = sorted(ratios.items(), key=lambda each: -each[1])[:3]
    log.info("the three highest of %d: %s", len(ratios), highest)
    return {name: ratio for name, ratio in ratios.items() if ratio > RATIO}


@pytest.mark.soak
@PATHS
@pytest.mark.parametrize("size", [BYTES // 16, BYTES // 4, BYTES])
def test_no_request_of_any_size_stalls_others_much_longer_than_the_largest_ordinary_one(
    node: Node, path: str, size: int
) -> None:
    made = batch if path.endswith("batch") else bytes
    usual = made(ordinary(BYTES - 2))
    costly_s = {name: partial(node.stall_s, path, made(body)) for name, body in costly(size - 2).items()}
    assert exceeding(partial(node.stall_s, path, usual), costly_s) == {}


@pytest.mark.soak
def test_no_record_stalls_http_much_longer_than_an_ordinary_one(node: Node) -> None:
    """The request handler is another process: the records share the machine and the log with HTTP."""
    topic = catalogue(node.kafka).requests.name
    with (
        running_roles(node.kafka, "request-handler", max_unfinished_from_kafka=10_000),
        closing(EventProducer(node.kafka)) as producer,
    ):

        def stall_s(value: bytes) -> float:
            with node.asked_again_and_again() as took_s:
                last = [
                    producer.produce(Record(topic, uuid.uuid4().hex, value, [])).result(DEADLINE_S)
                    for _ in range(RECORDS)
                ][-1]
                eventually(partial(is_handled, last), "they are handled")
            return max(took_s)

        def is_handled(last: Message) -> bool:
            committed = committed_offsets(node.kafka, REQUEST_GROUP, topic)
            return committed.get(last.partition() or 0, 0) > (last.offset() or 0)

        stall_s(ordinary(BYTES - 2))  # the request handler has started
        costly_s = {name: partial(stall_s, body) for name, body in costly(BYTES - 2).items()}
        assert exceeding(partial(stall_s, ordinary(BYTES - 2)), costly_s) == {}
