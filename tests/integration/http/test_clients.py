"""Both clients against real nodes."""

import asyncio
import base64
import threading
import uuid

import pytest

from envicutor_client import AsyncClient, Client, RequestRefusedError
from envicutor_client.models import Answer, EventPayload, OutputChunk
from tests.integration.http.nodes import DEADLINE_S, Nodes
from tests.support.polling import eventually
from topics.submissions.stage import OutputFile, RunStage

pytestmark = pytest.mark.xdist_group("http")


def test_what_the_client_can(nodes: Nodes) -> None:
    tag = f"client={uuid.uuid4().hex}"
    request = {"run": "true", "tags": [tag]}
    with Client(str(nodes.clients[0].base_url)) as client:
        ids = [client.submit(request).id for _ in range(3)]
        file = OutputFile(name="a b/ü", size_bytes=1, media_type="", content=base64.b64encode(b"x").decode())
        nodes.finish(ids[0], RunStage(exit_code=0, outputs=(file,)))
        assert client.wait(ids[0], DEADLINE_S).outcome == "ok"
        assert client.output(ids[0], 0, "a b/ü") == b"x"
        assert client.cancel(ids[1]).status == "cancelled"
        with pytest.raises(RequestRefusedError, match="already finished"):
            client.cancel(ids[0])
        eventually(lambda: len(list(client.list(tag=tag))) == len(ids), "all are listed")
        assert [listed.id for listed in client.list(tag=tag, limit=1)] == ids[::-1]
        assert list(client.list(tag=[tag, "nobody-has-it"])) == []
        batch = client.submit_batch([{"run": "true"}, {}])
        assert [result.status for result in batch.results] == [202, 422]
        with pytest.raises(RequestRefusedError, match="there is no submission"):
            next(client.events("nobody"))


def test_events_to_the_end(nodes: Nodes) -> None:
    with Client(str(nodes.clients[1].base_url)) as client:
        id = client.submit({"run": "true"}).id
        events = client.events(id)
        assert next(events).name == "requested"
        text = "hello \u2028\x85\x0b\x1c\r\n: end\n\n"  # `str.splitlines` splits at all of these
        nodes.print(id, text)
        output = next(events).data
        assert isinstance(output, OutputChunk)
        assert output.text == text
        nodes.finish(id)
        finished, end = events
        assert isinstance(finished.data, EventPayload)
        assert isinstance(end.data, Answer)
        assert end.data.outcome == "ok"


def test_a_stream_that_breaks_goes_on_where_it_was(nodes: Nodes) -> None:
    with Client(str(nodes.clients[0].base_url)) as client:
        id = client.submit({"run": "true"}).id
        events = client.events(id)
        next(events)
        nodes.break_streams(0)
        nodes.start(id)
        assert next(events).name == "started"
        nodes.break_streams(0)
        nodes.finish(id)
        assert [event.name for event in events] == ["finished", "end"]


def test_the_same_for_asyncio(nodes: Nodes) -> None:
    async def scenario() -> None:
        async with AsyncClient(str(nodes.clients[0].base_url)) as client:
            id = (await client.submit({"run": "true"})).id
            threading.Timer(0.1, nodes.finish, [id]).start()
            names = [event.name async for event in client.events(id)]
            assert names == ["requested", "finished", "end"]
            assert (await client.wait(id, DEADLINE_S)).outcome == "ok"
            assert [listed async for listed in client.list(tag="nobody-has-it")] == []
            with pytest.raises(RequestRefusedError):
                await client.get("nobody")

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))
