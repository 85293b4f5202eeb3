"""Requests from other systems on a real broker."""

import asyncio
import json
import logging
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, Producer

from nix.registries.latest import LatestVersions
from nix.settings import NixSettings
from processors import request_handler
from processors.request_handler import Published, RequestHandler
from tests.support.polling import at_least, eventually
from tests.support.registry import put_python, registry
from tests.support.submissions import GOOD, PINS, package_set, package_sets
from topics.catalogue import catalogue
from topics.dependencies.state import EnvironmentState
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Record, decode_fact, encode, header
from topics.kafka.scan import read_to_end
from topics.request.limits import KiB, MiB
from topics.request.model import BASE
from topics.request.parsing import parse_request
from topics.settings import KafkaSettings
from topics.submissions.acceptance import make_requested
from topics.submissions.facts import CANCEL, FACTS, Cancelled, Rejected, Requested, SubmissionFact
from topics.submissions.stage import OutputFile, RunStage
from topics.submissions.state import Submission
from topics.topic import Topic
from topics.views.view import View

DEADLINE_S = 60.0
MAX_UNFINISHED = 5


class HandledRequests:
    """Other systems, the log, and one request handler."""

    def __init__(self, settings: KafkaSettings, nix: NixSettings) -> None:
        self._nix = nix
        self._settings, self.topics = settings, catalogue(settings)
        ensure_topics(settings, self.topics.topics())
        self._producer = EventProducer(settings)
        self._handler, self._thread = self._start()

    def _start(self) -> tuple[RequestHandler, threading.Thread]:
        handler = RequestHandler(self._settings, self.topics, "0", LatestVersions(self._nix))
        thread = threading.Thread(target=lambda: asyncio.run(handler.run()))
        thread.start()
        return handler, thread

    @property
    def servers(self) -> str:
        return self._settings.bootstrap_servers

    def stop(self) -> None:
        self._handler.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def restart(self) -> None:
        self.stop()
        self._handler, self._thread = self._start()

    def use(self, nix: NixSettings) -> None:
        self._nix = nix
        self.restart()

    def close(self) -> None:
        self.stop()
        self._producer.close()

    def publish_package_set(self) -> None:
        self.send(package_set(self.topics))

    def ask(self, key: bytes | None, value: bytes | None, ce_type: str | None = None) -> None:
        headers: list[tuple[str, str | bytes | None]] = [("ce_type", ce_type)] if ce_type else []
        self.send(Record(self.topics.requests.name, key, value, headers))

    def send(self, record: Record) -> None:
        self._producer.produce(record).result(DEADLINE_S)

    def store(self, id: str, *, finished: bool, **fields: Any) -> None:
        """As the store processor would."""
        at = "2026-01-01T00:00:00.000Z"
        row = Submission(
            id=id,
            status="finished" if finished else "queued",
            source="kafka",
            created_at=at,
            finished_at=at if finished else None,
        ).replace(**fields)
        self.send(Record(self.topics.submissions.store.name, id, encode(row), []))

    def build(self, needed: Requested, **fields: Any) -> None:
        """As the build store would."""
        row = EnvironmentState(
            id=needed.dependencies_id,
            requested_at_ms=0,
            created_at="t",
            dependencies=needed.request.dependencies or BASE,
            package_set=needed.package_set,
            system="x86_64-linux",
            limits=needed.request.limits.dependencies,
            **fields,
        )
        self.send(Record(self.topics.dependencies.store.name, row.id, encode(row), []))

    def is_stored(self, id: str) -> bool:
        """Whether the handler has read this row."""
        return self._handler._store.get(id) is not None

    def read(self, topic: Topic, count: int) -> list[Message]:
        """All records of a topic, as soon as there are `count`."""
        what = f"{count} records of {topic.name}"
        messages: list[Message] = eventually(
            lambda: list(read_to_end(self._settings, topic.name)), what, enough=at_least(count)
        )
        return messages

    def facts(self, count: int) -> list[tuple[str, SubmissionFact]]:
        events = [decode_fact(message, FACTS) for message in self.read(self.topics.submissions.events, count)]
        return [(event.id, event.fact) for event in events]


@pytest.fixture
def system(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[HandledRequests]:
    settings = KafkaSettings(
        bootstrap_servers=kafka,
        topic_prefix=topic_prefix,
        data_dir=tmp_path,
        request_bytes=10 * KiB,
        max_unfinished_from_kafka=MAX_UNFINISHED,
    )
    nix = NixSettings(cache_dir=tmp_path, pypi_index="https://127.0.0.1:1/simple")
    put_python(tmp_path)
    system = HandledRequests(settings, nix)
    yield system
    system.close()


def test_requests_become_facts_and_bad_ones_are_told_and_kept(system: HandledRequests) -> None:
    bad = {
        b"json": b"\xff{",
        b"schema": b'{"run": 1}',
        b"key": b'{"run": "true", "id": "other"}',
        b"large": b"x" * (10 * KiB + 1),
    }
    nameless = [(None, GOOD), (b"no id", GOOD), (b"\xff", GOOD)]
    system.publish_package_set()
    system.ask(b"good", GOOD)
    for key, value in [*bad.items(), *nameless]:
        system.ask(key, value)
    system.ask(b"good", None, CANCEL)

    facts = system.facts(6)
    assert [id for id, _ in facts] == ["good", *(key.decode() for key in bad), "good"]
    requested, *rejected, cancelled = (fact for _, fact in facts)
    assert isinstance(requested, Requested)
    assert (requested.request.run, requested.package_set) == ("true", "pin")
    assert cancelled == Cancelled()
    assert all(isinstance(fact, Rejected) and fact.errors for fact in rejected)
    letters = system.read(system.topics.dead_letters, 7)
    assert {(letter.key(), letter.value()) for letter in letters} == {*bad.items(), *nameless}
    for letter in letters:
        assert str(header(letter, "dead_letter_from")).startswith(system.topics.requests.name + "/")
        assert header(letter, "dead_letter_reason")


def test_a_request_names_its_package_set(system: HandledRequests) -> None:
    for record in package_sets(system.topics, PINS.pins):
        system.send(record)
    for id, name in (("old", "debian-12"), ("new", "debian-13"), ("none", "debian-14")):
        system.ask(id.encode(), json.dumps({"run": "true", "package_set": name}).encode())
    (_, old), (_, new), (_, rejected) = system.facts(3)
    assert isinstance(old, Requested)
    assert isinstance(new, Requested)
    assert (old.package_set, new.package_set) == ("pin", "pin-13")
    assert old.dependencies_id != new.dependencies_id
    assert isinstance(rejected, Rejected)
    assert [str(error) for error in rejected.errors] == [
        "package_set: there is no package set 'debian-14'; offered: debian-12, debian-13"
    ]


def test_requests_wait_for_a_package_set_and_are_handled_once_over_a_restart(system: HandledRequests) -> None:
    system.ask(b"early", GOOD)
    system.restart()
    system.publish_package_set()
    assert [id for id, _ in system.facts(1)] == ["early"]
    system.restart()
    system.ask(b"late", json.dumps({"run": ["true"]}).encode())
    assert [id for id, _ in system.facts(2)] == ["early", "late"]


def test_a_transaction_left_open_holds_back_the_others_for_its_timeout_alone(system: HandledRequests) -> None:
    system.publish_package_set()
    system.ask(b"before", GOOD)
    system.facts(1)
    hanging = Producer(
        {
            "bootstrap.servers": system.servers,
            "transactional.id": f"{system.topics.requests.name}-hanging",
            "transaction.timeout.ms": 2000,
        }
    )
    hanging.init_transactions(DEADLINE_S)
    hanging.begin_transaction()
    hanging.produce(system.topics.requests.name, GOOD, b"never committed")
    hanging.flush(DEADLINE_S)
    system.ask(b"behind", GOOD)
    assert [id for id, _ in system.facts(2)] == ["before", "behind"]


def test_a_file_is_taken_of_an_earlier_submission_as_soon_as_the_store_has_its_end(
    system: HandledRequests,
) -> None:
    """Whatever the handler has read of the store."""
    file = OutputFile(name="a", size_bytes=1, media_type="a/b", content="eA==")
    run = (RunStage(exit_code=0, outputs=(file,)),)
    taking = {"run": "true", "files": [{"name": "b", "from": {"submission": "source", "name": "a"}}]}
    system.publish_package_set()
    system.store("source", finished=False)
    system.store("of-http", finished=True, source="http", run=run)
    system.ask(b"early", json.dumps(taking).encode())
    system.facts(1)
    system.store("source", finished=True, run=run)
    system.ask(b"taking", json.dumps(taking).encode())
    system.ask(b"other", json.dumps(taking).encode().replace(b"source", b"of-http"))
    early, taken, other = [fact for _, fact in system.facts(3)]
    assert isinstance(early, Rejected)
    assert early.errors[0].field == "files.0.from"
    assert "must have ended" in early.errors[0].message
    assert isinstance(taken, Requested)
    assert (taken.request.files[0].content, taken.request.files[0].origin is not None) == ("x", True)
    assert isinstance(other, Rejected)
    assert "there is no submission 'of-http'" in other.errors[0].message


def test_a_batch_ends_when_much_was_taken_and_the_rest_waits(
    system: HandledRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of 200 bytes can take 4 MiB, so that a batch of 500 would have 2 GiB."""
    batches: list[int] = []
    settle = RequestHandler._settle

    def counted(self: RequestHandler, published: Published) -> None:
        batches.append(len(published.messages))
        settle(self, published)

    monkeypatch.setattr(RequestHandler, "_settle", counted)
    monkeypatch.setattr(request_handler, "_TAKEN_BYTES", 2 * KiB)
    file = OutputFile(name="a", size_bytes=KiB, media_type="a/b", content=b64encode(b"x" * KiB).decode())
    taking = {"run": "true", "files": [{"name": "b", "from": {"submission": "source", "name": "a"}}]}
    system.publish_package_set()
    system.store("source", finished=True, run=(RunStage(exit_code=0, outputs=(file,)),))
    system.stop()
    ids = [f"taking-{n}" for n in range(MAX_UNFINISHED - 1)]
    for id in ids:
        system.ask(id.encode(), json.dumps(taking).encode())
    system.restart()
    facts = system.facts(len(ids))
    assert [id for id, _ in facts] == ids
    assert all(isinstance(fact, Requested) and len(fact.request.files[0].content) == KiB for _, fact in facts)
    system.ask(b"plain", GOOD)
    assert [id for id, _ in system.facts(len(ids) + 1)][-1] == "plain"
    assert (sum(batches[: len(ids)]), max(batches)) == (len(ids), 1)


def test_no_more_is_accepted_than_may_be_unfinished(system: HandledRequests) -> None:
    """Whether the store shows it yet or not, also after a restart."""
    system.publish_package_set()
    ids = [f"id-{number}" for number in range(3 * MAX_UNFINISHED)]
    for id in ids:
        system.ask(id.encode(), GOOD)
    system.facts(MAX_UNFINISHED)
    for id in ids[:MAX_UNFINISHED]:
        system.store(id, finished=False)
    system.restart()
    system.ask(b"later", GOOD)
    accepted = system.facts(MAX_UNFINISHED)
    assert len(accepted) == MAX_UNFINISHED
    done: set[str] = set()
    while len(accepted) <= len(ids):
        finished = next(id for id, _ in accepted if id not in done)
        system.store(finished, finished=True)
        done.add(finished)
        accepted = system.facts(min(MAX_UNFINISHED + len(done), len(ids) + 1))
        assert len(accepted) <= MAX_UNFINISHED + len(done)
    assert {id for id, _ in accepted} == {*ids, "later"}


def test_versions_of_packages_are_resolved_and_a_silent_index_holds_nothing_back(
    system: HandledRequests, tmp_path: Path
) -> None:
    system.publish_package_set()
    body = json.dumps({"run": "true", "dependencies": {"pypi": ["Words"]}}).encode()
    system.ask(b"without-index", body)
    system.ask(b"behind", GOOD)
    (_, rejected), (_, requested) = system.facts(2)
    assert isinstance(rejected, Rejected)
    assert isinstance(requested, Requested)
    assert rejected.errors[0].field == "dependencies.pypi"
    assert "the index of PyPI packages failed" in rejected.errors[0].message
    with registry(tmp_path) as served:
        served.wheel("words", "1.0", {})
        system.use(NixSettings(cache_dir=tmp_path).model_copy(update=served.settings))
        system.ask(b"with-index", body)
        system.ask(b"unknown", body.replace(b"Words", b"wards"))
        (_, requested), (_, rejected) = system.facts(4)[2:]
    assert isinstance(requested, Requested)
    assert requested.request.environment.pypi == ("words==1.0",)
    assert isinstance(rejected, Rejected)
    assert [str(error) for error in rejected.errors] == [
        "dependencies.pypi.0: wards: the index has no package of this name"
    ]


def request_for(package: str) -> bytes:
    return json.dumps({"run": "true", "dependencies": {"packages": [package]}}).encode()


def test_a_request_for_one_build_too_many_is_told_and_kept(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path, max_unfinished_builds=2
    )
    system = HandledRequests(settings, NixSettings(cache_dir=tmp_path))
    try:
        system.publish_package_set()
        for id, package in [("a", "gcc"), ("b", "ghc"), ("c", "go"), ("d", "gcc")]:
            system.ask(id.encode(), request_for(package))
        facts = dict(system.facts(4))
        assert {id for id, fact in facts.items() if isinstance(fact, Requested)} == {"a", "b", "d"}
        assert isinstance(rejected := facts["c"], Rejected)
        assert [(error.field, error.limit) for error in rejected.errors] == [("dependencies", 2)]
        (letter,) = system.read(system.topics.dead_letters, 1)
        assert letter.key() == b"c"
        assert "max_unfinished_builds" in str(header(letter, "dead_letter_reason"))

        system.store("a", finished=True)
        system.store("d", finished=True)
        system.store("b", finished=False)
        eventually(lambda: system.is_stored("d"), "the handler has read the store")
        system.ask(b"e", request_for("go"))
        assert isinstance(dict(system.facts(5))["e"], Requested)
    finally:
        system.close()


def test_no_request_is_judged_before_the_environments_are_read(
    kafka: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An environment that is installed needs no build, however many others are not built yet."""
    caplog.set_level(logging.INFO, request_handler.__name__)
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=topic_prefix, data_dir=tmp_path, max_unfinished_builds=1
    )
    environments, may_read = catalogue(settings).dependencies.store.name, threading.Event()

    class SlowView(View):
        """A view that reads the environments late, as one does that has many to read."""

        async def start(self) -> None:
            if self._tail.topic == environments:
                self._starting = asyncio.create_task(self._start_late())
            else:
                await super().start()

        async def _start_late(self) -> None:
            await asyncio.to_thread(may_read.wait, DEADLINE_S)
            await super().start()

    monkeypatch.setattr(request_handler, "View", SlowView)
    system = HandledRequests(settings, NixSettings(cache_dir=tmp_path))
    try:
        system.publish_package_set()
        installed = make_requested(*parse_request(request_for("go"), MiB), "pin", source="kafka")
        system.build(installed, status="installed", finished_at="t")
        system.ask(b"new", request_for("gcc"))
        system.ask(b"installed", request_for("go"))
        eventually(
            lambda: f"request-handler: reads {environments}" in caplog.messages, "it says what it reads"
        )
        may_read.set()
        assert {id: type(fact) for id, fact in system.facts(2)} == {"new": Requested, "installed": Requested}
    finally:
        may_read.set()
        system.close()
