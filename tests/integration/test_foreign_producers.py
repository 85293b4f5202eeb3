"""The examples for other systems' producers, against the real request handler and store processor."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Message

from ingest.app import make_app
from ingest.settings import IngestSettings
from nix.settings import NixSettings
from tests.support.polling import eventually
from tests.support.roles import running_roles
from tests.support.submissions import finished, package_set
from topics.catalogue import catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import decode_fact, encode_fact, headers
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Requested
from topics.submissions.stage import RunStage

EXAMPLES = Path(__file__).parents[2] / "examples" / "producers"
DEADLINE_S = 120.0
ANSWER = finished(RunStage(stdout="hello\n", exit_code=0))


@pytest.fixture
def producer(settings: KafkaSettings) -> Iterator[EventProducer]:
    producer = EventProducer(settings)
    producer.produce(package_set(catalogue(settings))).result(60)
    yield producer
    producer.close()


@pytest.fixture
def roles(settings: KafkaSettings) -> Iterator[None]:
    with running_roles(settings, "request-handler", "submission-store"):
        yield


def requested(settings: KafkaSettings, id: str) -> Message:
    events = catalogue(settings).submissions.events.name

    def found() -> list[Message]:
        return [event for event in read_to_end(settings, events) if event.key() == id.encode()]

    event: Message = eventually(found, f"{id} is requested")[0]
    return event


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize(
    ("command", "header", "end"),
    [
        ([sys.executable, "with_confluent_kafka.py"], "traceparent", "finished.v1\nok\n"),
        ([sys.executable, "with_aiokafka.py"], None, "submissions.requests/0/0\n"),
        (["bash", "with_kcat.sh"], "x-course", "\n"),
    ],
    ids=["confluent-kafka", "aiokafka", "kcat"],
)
def test_an_example_is_understood_and_answered(
    settings: KafkaSettings, producer: EventProducer, command: list[str], header: str | None, end: str
) -> None:
    *interpreter, name = command
    arguments = [*interpreter, str(EXAMPLES / name), settings.bootstrap_servers, "one", settings.topic_prefix]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as example:
        try:
            event = requested(settings, "one")
            fact = decode_fact(event, FACTS).fact
            assert isinstance(fact, Requested)
            assert (fact.request.run, fact.source) == ("echo hello", "kafka")
            assert header is None or header in dict(headers(event))
            events = catalogue(settings).submissions.events.name
            producer.produce(encode_fact(events, "one", ANSWER, FACTS, "test")).result(DEADLINE_S)
            output, _ = example.communicate(timeout=DEADLINE_S)
        finally:
            example.kill()
    assert example.returncode == 0
    assert output.endswith(end)
    assert "finished" in output or header is None


def test_ingest_serves_the_contract(settings: KafkaSettings) -> None:
    app = make_app(settings, catalogue(settings), IngestSettings(), NixSettings(), "0")

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
            return await client.get("http://127.0.0.1/asyncapi.json")

    served = asyncio.run(get()).json()
    assert served["asyncapi"] == "3.0.0"
    assert catalogue(settings).requests.name in served["channels"]


@pytest.mark.usefixtures("producer")
def test_the_trace_of_an_http_request_goes_on_to_the_log(settings: KafkaSettings) -> None:
    app = make_app(settings, catalogue(settings), IngestSettings(), NixSettings(), "0")
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1"}

    async def post() -> str:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
            deadline = time.monotonic() + DEADLINE_S
            while time.monotonic() < deadline:
                url = "http://127.0.0.1/submissions"
                answer = await client.post(url, json={"run": "true"}, headers=trace | {"x-other": "stays"})
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                await asyncio.sleep(0.1)  # no package set is in force yet
        raise AssertionError(answer.text)

    said = dict(headers(requested(settings, asyncio.run(post()))))
    assert {name: said[name] for name in trace} == {name: text.encode() for name, text in trace.items()}
    assert "x-other" not in said
