"""Server-sent events: whoever asks whichever node, whenever, is told everything, in order, once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from httpx_sse import EventSource

from tests.integration.http.nodes import Nodes
from tests.support.polling import eventually
from tests.support.submissions import finished
from topics.submissions.facts import Cancelled, LeaseExpired, Rejected
from topics.submissions.stage import RunStage

pytestmark = pytest.mark.xdist_group("http")


class Event(NamedTuple):
    id: str
    name: str
    data: Any


def read(response: httpx.Response) -> Iterator[Event]:
    for received in EventSource(response).iter_sse():
        if received.data:
            yield Event(received.id, received.event, received.json())


@contextmanager
def watching(client: httpx.Client, id: str, last: str | None = None) -> Iterator[Iterator[Event]]:
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", f"/submissions/{id}/events", headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield read(response)


def names(events: Iterator[Event]) -> list[str]:
    return [event.name for event in events]


@pytest.mark.parametrize("node", [0, 1])
def test_facts_and_output_as_they_come_on_every_node(nodes: Nodes, node: int) -> None:
    id = nodes.submit()
    with watching(nodes.clients[node], id) as events:
        assert next(events).name == "requested"
        nodes.start(id)
        started = next(events)
        assert (started.name, started.data["status"], started.data["fact"]["worker"]) == (
            "started",
            "started",
            "w",
        )
        nodes.print(id, "hello\n")
        output = next(events)
        assert (output.name, output.data["text"], output.data["stream"]) == ("output", "hello\n", "stdout")
        nodes.print(id, "again\n", sequence=1, offset_bytes=6)
        assert next(events).data["offset_bytes"] == 6
        nodes.finish(id, RunStage(stdout="hello\nagain\n", exit_code=0))
        finished, end = events
    assert (finished.name, finished.data["fact"]["outcome"]) == ("finished", "ok")
    assert (end.id, end.name) == ("end", "end")
    assert end.data == nodes.clients[node].get(f"/submissions/{id}").json()
    assert end.data["run"][0]["stdout"] == "hello\nagain\n"


def test_who_comes_late_is_told_the_history(nodes: Nodes) -> None:
    id = nodes.finished()
    with watching(nodes.clients[1], id) as events:
        assert names(events) == ["requested", "finished", "end"]


def test_it_goes_on_where_the_connection_broke_at_another_node(nodes: Nodes) -> None:
    id = nodes.submit()
    with watching(nodes.clients[0], id) as events:
        next(events)
        nodes.start(id)
        next(events)
        nodes.print(id, "one")
        last = next(events).id
    nodes.print(id, "two", sequence=1, offset_bytes=3)
    with watching(nodes.clients[1], id, last) as events:
        assert next(events).data["text"] == "two"
        nodes.finish(id)
        assert names(events) == ["finished", "end"]
    told_all = nodes.clients[0].get(f"/submissions/{id}/events", headers={"Last-Event-ID": "end"})
    assert told_all.status_code == 204


def test_what_changes_nothing_says_why(nodes: Nodes) -> None:
    id = nodes.submit()
    nodes.say(id, LeaseExpired(attempt=1, checker="c"))
    nodes.finish(id, attempt=1)
    nodes.finish(id, attempt=2)
    with watching(nodes.clients[0], id) as events:
        told = list(events)
    assert [event.name for event in told] == ["requested", "lease_expired", "finished", "finished", "end"]
    refused = [event.data["refused"] for event in told[:-1]]
    assert refused == [None, None, "of attempt 1, now at 2", None]
    assert told[-1].data["attempt"] == 2


def test_it_ends_after_a_cancellation_and_a_rejection(nodes: Nodes) -> None:
    cancelled, rejected = nodes.submit(), "rejected-1"
    nodes.say(rejected, Rejected(errors=()))
    eventually(lambda: nodes.clients[0].get(f"/submissions/{rejected}").is_success, "it is known")
    with watching(nodes.clients[0], cancelled) as events:
        next(events)
        nodes.say(cancelled, Cancelled())
        assert names(events) == ["cancelled", "end"]
    with watching(nodes.clients[0], rejected) as events:
        assert names(events) == ["rejected", "end"]


def test_large_answers_come_with_the_end_only(nodes: Nodes) -> None:
    id = nodes.submit({"run": "true", "files": [{"name": "big", "content": "x" * 500_000}]})
    text = "y" * 1_000_000
    nodes.finish(id, RunStage(stdout=text, exit_code=0))
    with watching(nodes.clients[0], id) as events:
        requested, finished, end = events
    assert all(len(json.dumps(event.data)) < 5000 for event in (requested, finished))
    assert end.data["run"][0]["stdout"] == text


def test_bad_questions(nodes: Nodes) -> None:
    client = nodes.clients[0]
    assert client.get("/submissions/nobody/events").status_code == 404
    id = nodes.submit()
    bad = client.get(f"/submissions/{id}/events", headers={"Last-Event-ID": "x"})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["field"] == "header.last-event-id"
    nodes.say(id, finished())
