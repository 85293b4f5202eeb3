"""Ingest nodes as they serve HTTP, in threads, and the log that they write to and read from."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from infra.cli import app
from infra.kafka.ports import choose_free_port
from ingest.app import make_app
from ingest.server import Server
from ingest.settings import IngestSettings
from nix.settings import NixSettings
from processors.store.on_kafka import StoreOnKafka
from processors.store.submission_store import submission_store
from tests.support.polling import eventually
from tests.support.roles import role_environment
from tests.support.submissions import finished, package_set
from topics.catalogue import catalogue
from topics.dependencies.state import EnvironmentState
from topics.dependencies.steps import STEP, BuildProgress, BuildStep
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, connection
from topics.kafka.codec import Record, cloud_event, encode, encode_fact
from topics.kafka.scan import read_to_end
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies
from topics.security.api_keys import ApiKey, Scope, digest, new_id, new_key
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Started, SubmissionFact
from topics.submissions.output import OUTPUT, OutputChunk
from topics.submissions.stage import Outcome, RunStage
from topics.submissions.state import Submission
from topics.times import now

DEADLINE_S = 60.0


class Nodes:
    """As a context: everything runs. `clients` are of the nodes, in their order."""

    def __init__(self, kafka: str, folder: Path, *, count: int = 2, **settings: Any) -> None:
        """`settings` are of ingest."""
        prefix = f"test-{uuid.uuid4().hex[:8]}-"
        self.kafka = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix, data_dir=folder)
        self.nix = NixSettings(cache_dir=folder)
        self.topics = catalogue(self.kafka)
        self._count, self._settings = count, settings
        self.clients: list[httpx.Client] = []
        self._headers: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        ensure_topics(self.kafka, self.topics.topics())
        self._stack.callback(self._delete_topics)
        self._producer = EventProducer(self.kafka)
        self._stack.callback(self._producer.close)
        if self._settings.get("http_keys"):
            self._headers = bearer(self.put_key(scopes=tuple(Scope)))
        self.produce(package_set(self.topics))
        self._stack.enter_context(self._folding())
        try:
            self.servers = [self._stack.enter_context(self._serving(n)) for n in range(self._count)]
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @contextmanager
    def _folding(self) -> Iterator[None]:
        processor = StoreOnKafka(self.kafka, submission_store(self.topics), "0")
        with _thread(lambda: asyncio.run(processor.run()), processor.stop):
            yield

    @contextmanager
    def _serving(self, number: int) -> Iterator[Server]:
        settings = IngestSettings(http_port=choose_free_port(), **self._settings)
        server = Server(make_app(self.kafka, self.topics, settings, self.nix, str(number)), settings)
        url = f"http://127.0.0.1:{settings.http_port}"
        with (
            _thread(server.run, lambda: setattr(server, "should_exit", True)),
            httpx.Client(base_url=url, headers=self._headers, timeout=DEADLINE_S, trust_env=False) as client,
        ):
            self.clients.append(client)
            eventually(lambda: server.started and self._accepts(client), "the node accepts submissions")
            yield server

    @staticmethod
    def _accepts(client: httpx.Client) -> bool:
        return client.post("/submissions", json={"run": "true"}).status_code == httpx.codes.ACCEPTED

    def _delete_topics(self) -> None:
        topics = [topic.name for topic in self.topics.topics()]
        admin = AdminClient(connection(self.kafka))
        for deletion in admin.delete_topics(topics).values():
            deletion.result(DEADLINE_S)

    # -- what operators do ---------------------------------------------------------------------------

    def command(self, *arguments: str, **settings: str) -> str:
        """What a command prints to standard output."""
        environment = role_environment(self.kafka, **settings)
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exit_code == 0, result.output
        return result.stdout

    def put_key(self, **fields: Any) -> str:
        """As `envicutor keys create` does, in no time."""
        key, known = new_key(), {"id": new_id(), "name": "tests", "created_at": now()}
        self.produce(Record(self.topics.api_keys.name, digest(key), encode(ApiKey(**known | fields)), []))
        return key

    # -- what workers do -----------------------------------------------------------------------------

    def produce(self, record: Record) -> int:
        """The record's offset."""
        return self._producer.produce(record).result(DEADLINE_S).offset() or 0

    def say(self, id: str, fact: SubmissionFact) -> int:
        return self.produce(encode_fact(self.topics.submissions.events.name, id, fact, FACTS, "test"))

    def print(self, id: str, text: str, **fields: Any) -> None:
        where: dict[str, Any] = {"attempt": 1, "worker": "w", "stage": "run", "case": 0, "stream": "stdout"}
        chunk = OutputChunk.model_validate(where | {"sequence": 0, "offset_bytes": 0, "text": text} | fields)
        headers = cloud_event(OUTPUT, uuid.uuid4().hex, id, "worker/w")
        self.produce(Record(self.topics.output.name, id, encode(chunk), headers))

    def build(self, id: str, **fields: Any) -> str:
        """What the build store and a cache builder do for a submission: the id of its dependencies."""
        row = Submission.read(eventually(lambda: self._stored(id), "the store has the submission"))
        state = EnvironmentState(
            id=row.dependencies_id,
            requested_at_ms=0,
            created_at=row.created_at,
            dependencies=Dependencies(packages=("python3",)),
            package_set=row.package_set,
            system="x86_64-linux",
            limits=DependenciesLimits(),
            **{"status": "queued"} | fields,
        )
        self.produce(Record(self.topics.dependencies.store.name, state.id, encode(state), []))
        return state.id

    def _stored(self, id: str) -> str | bytes | None:
        store = read_to_end(self.kafka, self.topics.submissions.store.name)
        return next((message.value() for message in store if message.key() == id.encode()), None)

    def step(self, dependencies_id: str, step: BuildStep, attempt: int = 1) -> None:
        """What a cache builder publishes of a build."""
        progress = BuildProgress(attempt=attempt, builder="b", step=step)
        headers = cloud_event(STEP, uuid.uuid4().hex, dependencies_id, "cache-builder/b")
        self.produce(Record(self.topics.steps.name, dependencies_id, encode(progress), headers))

    def start(self, id: str, attempt: int = 1) -> None:
        self.say(id, Started(attempt=attempt, worker="w"))

    def finish(self, id: str, *run: RunStage, outcome: Outcome = "ok", attempt: int = 1) -> None:
        self.say(id, finished(*run, attempt=attempt, outcome=outcome))

    def break_streams(self, node: int) -> None:
        """Every connection of the node breaks."""
        for open_one in list(self.servers[node].server_state.connections):
            open_one.loop.call_soon_threadsafe(open_one.transport.abort)

    # -- what clients do -----------------------------------------------------------------------------

    def submit(self, request: dict[str, Any] | None = None, node: int = 0) -> str:
        answer = self.clients[node].post("/submissions", json=request or {"run": "true"})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["id"])

    def finished(self, request: dict[str, Any] | None = None, *run: RunStage, outcome: Outcome = "ok") -> str:
        """Submit, finish, and wait until every node knows."""
        id = self.submit(request)
        self.finish(id, *run, outcome=outcome)
        for client in self.clients:
            eventually(partial(finished_at, client, id), "it is finished")
        return id


def finished_at(client: httpx.Client, id: str) -> str | None:
    finished_at: str | None = client.get(f"/submissions/{id}").json()["finished_at"]
    return finished_at


@contextmanager
def _thread(target: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
