"""Bad requests on a real broker: all of each is kept, can be looked at, and can be tried again."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli import app
from nix.registries.latest import LatestVersions
from nix.settings import NixSettings
from processors.request_handler import RequestHandler
from tests.support.polling import at_least, eventually
from tests.support.roles import role_environment
from tests.support.submissions import package_set
from topics.catalogue import Catalogue
from topics.kafka.clients import EventProducer
from topics.kafka.codec import Headers, Record, decode_fact, headers
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings
from topics.submissions.facts import FACTS, Rejected, Requested

DEADLINE_S = 60.0
TRACE: Headers = [("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("x", b"\xff")]


@pytest.fixture
def produce(settings: KafkaSettings) -> Iterator[Callable[[Record], None]]:
    producer = EventProducer(settings)

    def produce(record: Record) -> None:
        producer.produce(record).result(DEADLINE_S)

    yield produce
    producer.close()


@pytest.fixture
def handler(settings: KafkaSettings, topics: Catalogue, produce: Callable[[Record], None]) -> Iterator[None]:
    produce(package_set(topics))
    handler = RequestHandler(settings, topics, "0", LatestVersions(NixSettings()))
    thread = threading.Thread(target=lambda: asyncio.run(handler.run()))
    thread.start()
    yield
    handler.stop()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


@pytest.fixture
def letters(settings: KafkaSettings) -> Callable[..., list[str]]:
    """`envicutor dead-letters`, its lines of output."""
    environment = role_environment(settings)

    def run(*arguments: str, exit_code: int = 0) -> list[str]:
        result = CliRunner().invoke(app, ["dead-letters", *arguments], env=environment)
        assert result.exit_code == exit_code, result.output
        return result.stdout.splitlines()

    return run


def until(found: Callable[[], list[Any]], count: int) -> list[Any]:
    seen: list[Any] = eventually(found, f"{count} items", enough=at_least(count))
    assert len(seen) == count
    return seen


@pytest.mark.usefixtures("handler")
def test_bad_requests_are_listed_shown_and_tried_again(
    settings: KafkaSettings,
    topics: Catalogue,
    produce: Callable[[Record], None],
    letters: Callable[..., list[str]],
) -> None:
    produce(Record(topics.requests.name, b"bad", b"\xff{", TRACE))
    [line] = until(lambda: letters("list"), 1)
    place, _, origin, key = line.split()[:4]
    assert (origin, key) == (f"{topics.requests.name}/0/0", "bad")

    shown = json.loads("\n".join(letters("show", place)))
    assert shown["value"] == {"content": "/3s=", "encoding": "base64"}
    assert [header["name"] for header in shown["headers"]] == ["traceparent", "x"]

    assert letters("retry", place) == [f"{place} was produced again, to {topics.requests.name}/0/1"]
    again = json.loads(until(lambda: letters("list", "--json"), 2)[1])
    assert {name: again[name] for name in ("key", "headers", "value")} == {
        name: shown[name] for name in ("key", "headers", "value")
    }
    for wrong in ("0/99", "1", "x/y"):
        letters("show", wrong, exit_code=2)
    produce(Record(topics.dead_letters.name, b"x", b"x", []))
    foreign = next(line.split()[0] for line in until(lambda: letters("list"), 3) if "not a dead" in line)
    letters("retry", foreign, exit_code=2)


@pytest.mark.usefixtures("handler")
def test_headers_that_are_not_ours_come_with_the_event(
    settings: KafkaSettings, topics: Catalogue, produce: Callable[[Record], None]
) -> None:
    own: Headers = [("ce_id", b"theirs"), ("ce_type", b"theirs"), ("ce_tenant", b"t")]
    produce(Record(topics.requests.name, b"good", b'{"run": "true"}', [*own, *TRACE]))
    produce(Record(topics.requests.name, b"bad", b"{", TRACE))

    good, bad = until(lambda: list(read_to_end(settings, topics.submissions.events.name)), 2)

    assert isinstance(decode_fact(good, FACTS).fact, Requested)
    assert isinstance(decode_fact(bad, FACTS).fact, Rejected)
    assert headers(good)[-3:] == [("ce_tenant", b"t"), *TRACE]
    assert headers(bad)[-2:] == TRACE
    assert [value for name, value in headers(good) if name == "ce_id"] != [b"theirs"]


WARM = 30

HOSTILE = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class Name(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main(servers, topic):
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        headers = [(Name("x"), b"y"), ("a", b"b")]
        await producer.send_and_wait(topic, b'{"run": "true"}', b"odd", headers=headers)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.usefixtures("handler")
def test_a_header_whose_name_is_not_text_stops_nobody(
    settings: KafkaSettings, topics: Catalogue, produce: Callable[[Record], None]
) -> None:
    """To look at it twice ends the process: see `topics.kafka.codec.headers`."""
    for number in range(WARM):  # the interpreter treats a call that it has often made in another way
        produce(Record(topics.requests.name, f"warm-{number}", b'{"run": "true"}', []))
    command = [sys.executable, "-c", HOSTILE, settings.bootstrap_servers, topics.requests.name]
    subprocess.run(command, env={"AIOKAFKA_NO_EXTENSIONS": "1"}, check=True, timeout=DEADLINE_S)
    produce(Record(topics.requests.name, b"good", b'{"run": "true"}', []))

    events = until(lambda: list(read_to_end(settings, topics.submissions.events.name)), WARM + 2)
    assert [type(decode_fact(event, FACTS).fact) for event in events[WARM:]] == [Rejected, Requested]
    [letter] = until(lambda: list(read_to_end(settings, topics.dead_letters.name)), 1)
    assert (letter.key(), letter.value()) == (b"odd", b'{"run": "true"}')
