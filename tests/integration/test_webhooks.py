"""Webhooks: the real store processor and sender, a real broker, and a receiver on 127.0.0.1."""

import asyncio
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from infra.kafka.tls import make_tls
from processors.webhooks.post import TIMEOUT_S, NotDeliveredError, Poster
from processors.webhooks.sender import AT_ONCE, IN_LINE
from processors.webhooks.signing import new_secret
from tests.support.polling import eventually
from tests.support.roles import Process, kill, role_environment, start_role
from tests.support.submissions import finished
from topics.audit.dead_letters import original, retry
from topics.catalogue import catalogue
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import decode_dead_letter, encode_fact
from topics.kafka.scan import read_to_end
from topics.request.callback_urls import target
from topics.request.limits import KiB, MiB
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import FACTS, Cancelled, SubmissionFact
from topics.submissions.stage import OutputFile, RunStage

DEADLINE_S = 60.0
OK = finished()
UNREACHABLE_PROXY = {"http_proxy": "http://127.0.0.1:1", "all_proxy": "http://127.0.0.1:1"}
DOCUMENT = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


class Got(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float


class Receiver(ThreadingHTTPServer):
    """Does what the path says, and remembers who asked for it."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.got: list[Got] = []
        self.released = threading.Event()
        self.sent_bytes = 0

    @property
    def place(self) -> str:
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"

    def ids(self, path: str) -> list[str]:
        return [got.headers["webhook-id"] for got in list(self.got) if got.path == path]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        first = self.path not in {got.path for got in self.server.got}
        self.server.got.append(Got(self.path, headers, body, time.monotonic()))
        match self.path:
            case "/flaky":
                self._answer(500 if first else 200)
            case "/never":
                self._answer(503)
            case "/redirect":
                self._answer(307, Location=f"http://{self.server.place}/ok")
            case "/bad-redirect":
                self._answer(302, Location="http://xn--a./")
            case "/hang" if first:
                self.server.released.wait(DEADLINE_S)
            case "/held":
                self.server.released.wait(DEADLINE_S)
                self._answer(200)
            case "/big":
                self._answer(200, **{"Content-Length": "1000000000"})
                self._pour(b"x" * 65536, pause_s=0)
            case "/drip":
                self._answer(200, **{"Content-Length": "1000"})
                self._pour(b"x", pause_s=0.5)
            case _:
                self._answer(200)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Set-Cookie", "a=b")
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def _pour(self, piece: bytes, pause_s: float) -> None:
        try:
            while not self.server.released.wait(pause_s):
                self.wfile.write(piece)
                self.server.sent_bytes += len(piece)
        except OSError:
            pass

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        receiver.shutdown()
        thread.join()
        receiver.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def slow() -> Iterator[Receiver]:
    with receiving(Receiver()) as slow:
        yield slow


class WebhookRoles:
    """A store processor and a sender, each its own process; clients and workers are us."""

    def __init__(self, kafka: KafkaSettings, *receivers: Receiver) -> None:
        self.kafka, self.topics = kafka, catalogue(kafka)
        self._place = receivers[0].place
        ensure_topics(kafka, self.topics.topics())
        self._producer = EventProducer(kafka)
        self.secret = new_secret()
        secret_file = kafka.data_dir / "secret"
        secret_file.write_text(self.secret)
        self._settings = {
            "session_timeout_ms": 1500,
            "webhook_allow": [receiver.place for receiver in receivers],
            "webhook_secret_file": secret_file,
            "webhook_first_retry_s": 0.1,
            "webhook_attempts": 3,
        }
        self._processes = [self._start("submission-store")]
        self.sender = self.start_sender()

    def _start(self, role: str) -> Process:
        settings = self._settings | {"data_dir": self.kafka.data_dir / role}
        return start_role(role, environment=role_environment(self.kafka, **settings) | UNREACHABLE_PROXY)

    def start_sender(self) -> Process:
        self.sender = self._start("webhook-sender")
        self._processes.append(self.sender)
        return self.sender

    def close(self) -> None:
        kill(self._processes)
        self._producer.close()

    def ends(
        self, id: str, path: str, end: SubmissionFact = OK, place: str | None = None, **more: Any
    ) -> None:
        """It is asked for, and ends."""
        place = place or self._place
        url = f"http://{place}{path}"
        raw = json.dumps({"run": "true", "callback_url": url, "tags": ["course=42"]} | more).encode()
        request = parse_request(raw, MiB, [place])
        for fact in (make_requested(*request, "pin", source="kafka"), end):
            self._producer.produce(encode_fact(self.topics.submissions.events.name, id, fact, FACTS, "test"))

    def try_again(self, id: str) -> None:
        """What `envicutor dead-letters retry` does."""
        letters = read_to_end(self.kafka, self.topics.dead_letters.name)
        retry(
            self.kafka, [original(self.topics, letter) for letter in letters if letter.key() == id.encode()]
        )

    def letters(self) -> dict[str, str]:
        """Reasons, by id."""
        letters = map(decode_dead_letter, read_to_end(self.kafka, self.topics.dead_letters.name))
        return {str(letter.original.key, "utf-8"): letter.reason for letter in letters}  # type: ignore[arg-type]


@pytest.fixture
def system(
    kafka: str, topic_prefix: str, tmp_path: Path, receiver: Receiver, slow: Receiver
) -> Iterator[WebhookRoles]:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path)
    system = WebhookRoles(settings, receiver, slow)
    yield system
    system.close()


def test_whatever_a_receiver_does_each_end_is_told_or_a_dead_letter(
    system: WebhookRoles, receiver: Receiver, slow: Receiver
) -> None:
    for number in range(AT_ONCE + 1):
        system.ends(f"slow-{number}", "/drip" if number else "/hang", place=slow.place)
    for path in ("never", "flaky", "redirect", "bad-redirect", "big", "ok"):
        system.ends(path, f"/{path}")
    system.ends("cancelled", "/cancelled", Cancelled())
    system.ends("elsewhere", "/ok", place="127.0.0.1:1")

    letters = eventually(lambda: len(found := system.letters()) == 4 and found, "four are given up")
    eventually(lambda: receiver.ids("/ok") and receiver.ids("/cancelled") and receiver.ids("/big"), "told")
    eventually(lambda: len(receiver.ids("/flaky")) > 1, "what failed once is told again")
    for path in ("ok", "big", "flaky"):  # once or more: on a machine that is busy an answer may be late
        assert set(receiver.ids(f"/{path}")) == {f"ended_{path}"}
    assert receiver.ids("/never") == ["ended_never"] * 3
    assert receiver.ids("/redirect") == ["ended_redirect"] * 3
    assert letters["never"] == "not delivered after 3 tries; the last one: the answer was 503: ''"
    assert "redirects are not followed" in letters["redirect"]
    assert letters["bad-redirect"].startswith("not delivered after 3 tries; the last one: InvalidCodepoint")
    assert letters["elsewhere"].startswith("127.0.0.1:1 is not allowed")
    assert receiver.sent_bytes < 20 * MiB  # what fits into the buffers of two sockets, and no 1 GB
    eventually(lambda: len(slow.ids("/hang")) == 2, "what was not answered is told again")
    first, *_, last = (got.at_s for got in slow.got[: AT_ONCE + 1])
    assert last - first > TIMEOUT_S / 2, "the last one waits until another had its time"
    began = {got.path: got.at_s for got in reversed(receiver.got)}
    assert max(began.values()) < last, "a slow receiver keeps nobody else waiting"
    assert sorted(slow.ids("/drip")) == sorted(f"ended_slow-{n + 1}" for n in range(AT_ONCE))

    (told,) = (got for got in receiver.got if got.path == "/cancelled")
    data = json.loads(told.body)["data"]
    assert (data["id"], data["status"], data["outcome"]) == ("cancelled", "cancelled", None)
    assert (data["tags"], data["path"]) == (["course=42"], "/submissions/cancelled")
    assert told.headers["host"] == receiver.place
    assert not any("cookie" in got.headers for got in receiver.got)
    is_ours = _documented()
    assert is_ours(told.headers, told.body, system.secret)
    assert not is_ours(told.headers, told.body + b" ", system.secret)
    assert not is_ours(told.headers | {"webhook-timestamp": "1"}, told.body, system.secret)
    assert not is_ours(told.headers, told.body, new_secret())
    assert not is_ours(told.headers | {"webhook-signature": "v1"}, told.body, system.secret)

    system.try_again("never")
    eventually(lambda: len(receiver.ids("/never")) == 4, "an operator has it told once more")


def test_an_answer_is_told_on_request_without_what_is_hidden(
    system: WebhookRoles, receiver: Receiver
) -> None:
    file = OutputFile(name="a.txt", size_bytes=6, media_type="text/plain", content="c2VjcmV0")
    plain = RunStage(stdout="shown", exit_code=0, outputs=(file,))
    hidden = RunStage(stdout="secret", stderr="secret", exit_code=0, outputs=(file.replace(name="secret"),))
    long = RunStage(stdout="ü" * 3 * MiB, exit_code=0)
    more: dict[str, Any] = {"callback_answer": True, "test_cases": [{}, {"hidden": True, "input": "secret"}]}
    system.ends("answered", "/answered", finished(plain, hidden), **more)
    system.ends("long", "/flaky", finished(long), callback_answer=True)
    eventually(lambda: receiver.ids("/answered") and len(receiver.ids("/flaky")) > 1, "both are told")
    (told,) = (got for got in receiver.got if got.path == "/answered")
    answer = json.loads(told.body)["data"]["answer"]
    assert [stage["stdout"] for stage in answer["run"]] == ["shown", ""]
    assert answer["run"][0]["outputs"] == [json.loads(file.replace(content=None).model_dump_json())]
    assert answer["run"][1]["hidden"]
    assert b"secret" not in told.body
    assert b"c2VjcmV0" not in told.body
    first, second, *_ = (got for got in receiver.got if got.path == "/flaky")
    assert first.body == second.body
    assert MiB - 16 * KiB < len(first.body) <= MiB
    (stage,) = json.loads(first.body)["data"]["answer"]["run"]
    assert stage["truncated"]
    for got in (told, second):
        assert _documented()(got.headers, got.body, system.secret)
        assert not _documented()(got.headers, got.body[:-1], system.secret)


def test_what_waits_too_long_in_line_goes_aside_and_is_told_all_the_same(
    system: WebhookRoles, receiver: Receiver
) -> None:
    ids = [f"{number}" for number in range(AT_ONCE + IN_LINE + 20)]
    for id in ids:
        system.ends(id, "/held")
    retries = system.topics.webhook_retries.name
    eventually(lambda: any(True for _ in read_to_end(system.kafka, retries)), "some are put aside")
    eventually(lambda: len(receiver.got) == AT_ONCE, "so many are told at once, and no more")
    receiver.released.set()
    eventually(lambda: len(set(receiver.ids("/held"))) == len(ids), "all are told")
    assert sorted(receiver.ids("/held")) == sorted(f"ended_{id}" for id in ids)
    assert system.letters() == {}


def _documented() -> Callable[[dict[str, str], bytes, str], bool]:
    """Return the function of docs/http.md that verifies a webhook."""
    code = next(c for c in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL) if "def is_ours" in c)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_ours"]  # type: ignore[no-any-return]


def test_a_sender_that_is_killed_tells_it_again(system: WebhookRoles, receiver: Receiver) -> None:
    system.ends("a", "/hang")
    eventually(lambda: receiver.ids("/hang"), "it is under way")
    system.sender.kill()
    system.sender.wait()
    system.start_sender()
    assert eventually(lambda: len(receiver.ids("/hang")) == 2, "it is told again")
    assert set(receiver.ids("/hang")) == {"ended_a"}
    system.ends("b", "/ok")
    eventually(lambda: receiver.ids("/ok"), "the next one is told")
    system.sender.terminate()
    assert system.sender.wait(DEADLINE_S) == 0
    assert len(receiver.ids("/hang")) == 2
    assert system.letters() == {}


# -- one try, without a broker -----------------------------------------------------------------------


def post(url: str, addresses: list[str], allowed: list[str], ca_file: Path | None = None) -> None:
    """The name resolves to the first of the addresses at its first resolution, and so on."""

    async def run() -> None:
        async def resolve(host: str, port: int) -> list[str]:
            return [addresses.pop(0)]

        poster = Poster(allowed, ca_file, resolve)
        try:
            await poster.post(target(url), b"{}", {"webhook-id": "a"}, 0)
        finally:
            await poster.close()

    asyncio.run(run())


def test_the_address_that_was_looked_at_is_connected_to(receiver: Receiver) -> None:
    port = receiver.server_address[1]
    allowed = [f"hooks.test:{port}", receiver.place]
    with receiving(Receiver("127.0.0.2", port)) as inner:
        post(f"http://hooks.test:{port}/ok", ["127.0.0.1", "127.0.0.2"], allowed)
        with pytest.raises(NotDeliveredError, match=r"resolves to 127\.0\.0\.2:.* not public"):
            post(f"http://hooks.test:{port}/ok", ["127.0.0.2"], allowed)
        assert [got.headers["host"] for got in receiver.got] == [f"hooks.test:{port}"]
        assert inner.got == []


def test_tls_goes_by_the_name(receiver: Receiver, tmp_path: Path) -> None:
    """The authority of a test's broker signs for localhost."""
    tls = make_tls(tmp_path, None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.broker_file)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    port = receiver.server_address[1]
    allowed = [receiver.place]
    post(f"https://localhost:{port}/ok", ["127.0.0.1"], allowed, tls.ca_file)
    for url, ca_file in (
        (f"https://hooks.test:{port}/ok", tls.ca_file),
        (f"https://localhost:{port}/ok", None),
    ):
        with pytest.raises(NotDeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
            post(url, ["127.0.0.1"], allowed, ca_file)
    assert names == ["localhost", "hooks.test", "localhost"]
    assert len(receiver.got) == 1
