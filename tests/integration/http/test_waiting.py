"""What a submission waits for, as clients learn it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from envicutor_client import AsyncClient, Client
from envicutor_client.cli.watch import WaitingNotes
from envicutor_client.models import EventPayload, SubmissionWait
from tests.integration.http.nodes import Nodes
from tests.support.polling import eventually
from topics.dependencies.steps import BuildStep

pytestmark = pytest.mark.xdist_group("http")


def before(nodes: Nodes, id: str) -> int | None:
    waiting = nodes.clients[0].get(f"/submissions/{id}").json().get("waiting")
    return waiting["before"] if waiting else None


def test_clients_learn_their_place_until_a_worker_starts_the_submission(
    nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = len(nodes.clients[0].get("/submissions?status=queued&limit=200").json()["submissions"])
    ids = [nodes.submit() for _ in range(3)]
    last = ids[-1]
    assert [before(nodes, id) for id in ids] == [earlier, earlier + 1, earlier + 2]
    assert nodes.clients[0].get(f"/submissions/{last}?fields=waiting").json()["waiting"]["reason"] == "worker"
    metrics = nodes.clients[0].get("/metrics").text
    assert "envicutor_submissions_oldest_waiting_seconds" in metrics

    seen: list[SubmissionWait] = []
    events: list[str] = []
    learned = threading.Event()

    def note(waiting: SubmissionWait) -> None:
        seen.append(waiting)
        WaitingNotes().show(waiting)
        learned.set()

    def read() -> None:
        events.extend(event.name for event in client.events(last))

    with Client(str(nodes.clients[0].base_url)) as client, ThreadPoolExecutor() as pool:
        answer = pool.submit(client.wait, last, 60.0, note)
        streamed = pool.submit(read)
        assert learned.wait(60)
        eventually(lambda: "waiting" in events, "the stream has its place as well")
        for id in ids:
            nodes.start(id)
            nodes.finish(id)
        assert answer.result(60).status == "finished"
        streamed.result(60)
    assert seen[0].before == earlier + 2
    assert f"waiting for a worker: {earlier + 2} before it" in capsys.readouterr().err
    assert events[:2] == ["requested", "waiting"]
    assert "waiting" not in nodes.clients[0].get(f"/submissions/{last}").json()
    assert "envicutor_queue_wait_seconds_count" in nodes.clients[0].get("/metrics").text


def test_a_submission_that_waits_for_its_environment_does_not_run(nodes: Nodes) -> None:
    request = {"run": "true", "dependencies": {"packages": ["python3"]}}
    with Client(str(nodes.clients[0].base_url)) as client:
        id = nodes.submit(request)
        nodes.start(id)
        eventually(lambda: client.get(id).status == "started", "it is started")
        assert client.get(id).waiting is None, "the environment may be there"
        running = client.system().running
        nodes.build(id)
        waiting = eventually(lambda: client.get(id).waiting, "it waits for its environment")
        assert waiting == SubmissionWait(reason="environment")
        system = eventually(
            lambda: (now := client.system()).waiting_for_environment == 1 and now, "it does not run"
        )
        assert system.running < running or running == 0
        nodes.finish(id)


async def first_wait(url: str, id: str) -> SubmissionWait:
    """What the client for asyncio passes to `on_waiting`."""
    waits: asyncio.Queue[SubmissionWait] = asyncio.Queue()
    async with AsyncClient(url) as client:
        waiting = asyncio.create_task(client.wait(id, 60.0, waits.put_nowait))
        first = await waits.get()
        waiting.cancel()
        return first


def test_clients_see_the_steps_of_the_build_that_they_wait_for(nodes: Nodes) -> None:
    request = {"run": "true", "dependencies": {"packages": ["python3"]}}
    id = nodes.submit(request)
    nodes.start(id)
    http = nodes.clients[1]
    eventually(lambda: http.get(f"/submissions/{id}").json()["status"] == "started", "it is started")
    fetching, building = BuildStep(stage="fetching", done=12, total=55), BuildStep(stage="building")
    with Client(str(http.base_url)) as client:
        steps = (
            SubmissionWait.model_validate(event.data.fact).step
            for event in client.events(id)
            if isinstance(event.data, EventPayload) and event.name == "waiting"
        )
        environment = nodes.build(id, status="started", builder="b", attempt=2)
        nodes.step(environment, BuildStep(stage="publishing"), attempt=1)  # of an attempt that is over
        nodes.step(environment, fetching, attempt=2)
        assert str(next(filter(None, steps))) == "fetching 12 of 55"
        shown = http.get(f"/dependencies/{environment}").json()
        assert (shown["status"], shown["step"]) == ("started", fetching.model_dump())
        nodes.step(environment, building, attempt=2)
        assert next(str(step) for step in steps if step and step.stage != "fetching") == "building"
        for waiting in (client.get(id).waiting, asyncio.run(first_wait(str(http.base_url), id))):
            assert waiting is not None
            assert str(waiting.step) == "building"
        nodes.build(id, status="installed", builder="b", attempt=2)
        eventually(lambda: client.get(id).waiting is None, "it waits no more")
        assert "step" not in http.get(f"/dependencies/{environment}").json()
        nodes.finish(id)


def test_a_client_that_goes_away_leaves_no_task(nodes: Nodes) -> None:
    id, tasks = nodes.submit(), nodes.servers[0].server_state.tasks
    before = len(tasks)
    with pytest.raises(httpx.ReadTimeout):
        nodes.clients[0].get(f"/submissions/{id}?wait=true&wait_timeout_s=300", timeout=0.5)
    eventually(lambda: len(tasks) <= before, "the task is over")
    nodes.finish(id)


def test_steps_that_are_not_shown_delay_nothing_of_a_stream(nodes: Nodes) -> None:
    """A submission that waits for a worker has the environment of one that waits for its build."""
    id = nodes.submit({"run": "true", "dependencies": {"packages": ["python3"]}})
    environment = nodes.build(id, status="started", builder="b")
    ended = threading.Event()

    def publish() -> None:
        for done in range(300):
            nodes.step(environment, BuildStep(stage="fetching", done=done, total=300))
            if ended.wait(0.1):
                break

    with Client(str(nodes.clients[0].base_url)) as client, ThreadPoolExecutor() as pool:
        publishing = pool.submit(publish)
        waiting = next(event for event in client.events(id) if event.name == "waiting")
        assert not publishing.done()
        ended.set()
        publishing.result(60)
    assert isinstance(waiting.data, EventPayload)
    assert waiting.data.fact["reason"] == "worker"
    nodes.start(id)
    nodes.finish(id)
