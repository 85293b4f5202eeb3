"""The client against a real HTTP server that answers as told."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type

import pytest

from envicutor_client import AsyncClient, Client, RequestRefusedError, RunResult, UnavailableError
from envicutor_client.models import SubmissionRequest
from tests.unit.client.server import (
    Reply,
    Server,
    finished,
    language,
    languages,
    problem,
    reply,
    serving,
    stream,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def test_submitting_again_is_the_same_submission(server: Server, client: Client) -> None:
    server.replies = [None, (503, {"Retry-After": "0"}, b""), reply("queued", 202)]
    assert client.submit({"run": "true"}).status == "queued"
    bodies = [body for _, _, body in server.asked]
    assert len(bodies) == 3
    assert bodies[0]["id"]
    assert bodies == bodies[:1] * 3


def test_a_models_request_is_sent_as_it_was_made(server: Server, client: Client) -> None:
    server.replies = [reply("finished")]
    client.submit(SubmissionRequest(id="mine", run=("echo", "hi")), wait_s=1000)
    assert server.asked == [
        ("POST", "/submissions?wait=true&wait_timeout_s=30.0", {"id": "mine", "run": ["echo", "hi"]})
    ]


def test_wait_asks_until_it_is_final(server: Server, client: Client) -> None:
    server.replies = [reply("queued"), reply("started"), reply("finished")]
    assert client.wait("a/b").status == "finished"
    path = "/submissions/a%2Fb?wait=true&wait_timeout_s=30.0"
    assert server.asked == [("GET", path, None)] * 3


def test_wait_is_over_some_time(server: Server, client: Client) -> None:
    server.replies = [reply("started")]
    with pytest.raises(TimeoutError, match="one has not ended, but is started"):
        client.wait("one", 0.05)


def test_refusal_carries_the_fields(server: Server, client: Client) -> None:
    error = {"field": "limits.run.cpus", "message": "at most 2", "limit": 2}
    server.replies = [problem(422, errors=[error])]
    with pytest.raises(RequestRefusedError) as refused:
        client.submit({})
    assert refused.value.status == 422
    assert [wrong.model_dump() for wrong in refused.value.errors] == [error]


@pytest.mark.parametrize("answer", [problem(500), (501, {}, b"<html>"), (200, {}, b"<html>")])
def test_no_answer(server: Server, client: Client, answer: Reply) -> None:
    server.replies = [answer]
    with pytest.raises(UnavailableError):
        client.get("one")


def test_who_waits_is_told_why_it_takes_longer(server: Server) -> None:
    replies = [(503, {"Retry-After": "0"}, b""), (507, {"Retry-After": "0"}, b"")]
    server.replies = [*replies, reply("queued")]
    told: list[str] = []
    with Client(server.url, on_retry=told.append) as client:
        client.get("one")
    reasons = ["503 Service Unavailable", "507 Insufficient Storage"]
    assert told == [f"{server.url} answers {reason}" for reason in reasons]


def test_nobody_there_names_the_submission(server: Server) -> None:
    server.server_close()
    with (
        Client(server.url, retry_s=0.1) as client,
        pytest.raises(UnavailableError, match=r"about mine .* refused"),
    ):
        client.submit({"id": "mine"})


CPP = language("cpp", packages=["g++"], source_file="main.cpp")


def test_run_is_one_line(server: Server, client: Client) -> None:
    server.replies = [languages(CPP), finished(stdout="hi\n")]
    result = client.run("int main() {}", language="cpp", input="5")
    assert assert_type(result, RunResult).stdout == "hi\n"
    path, body = server.asked[1][1:]
    assert path == "/submissions?wait=true&wait_timeout_s=30.0"
    assert body.pop("id")
    assert body == {
        "language": "cpp",
        "files": [{"name": "main.cpp", "content": "int main() {}"}],
        "test_cases": [{"input": "5", "args": []}],
    }


def test_the_languages_are_asked_for_once(server: Server, client: Client) -> None:
    server.replies = [languages(CPP), finished()]
    results = list(
        client.map("", ["1", b"\xff"], language="cpp", packages=["libgmp-dev"], package_set="debian-13")
    )
    assert [result.ok for result in results] == [True, True]
    bodies = [body for _, _, body in server.asked[1:]]
    assert len(bodies) == 2
    assert bodies[0]["dependencies"] == {"packages": ["g++", "libgmp-dev"]}
    assert bodies[0]["package_set"] == "debian-13"
    assert sorted(body["test_cases"][0]["input"] for body in bodies) == ["/w==", "1"]


def test_local_files_are_sent(server: Server, client: Client, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"\xff")
    server.replies = [finished()]
    files: dict[str, str | bytes | Path] = {"a": "text", "b": b"bytes", "c": tmp_path / "local"}
    client.run("", language=None, run="cat a b c", files=files, source="main.awk")
    assert server.asked[0][2]["files"] == [
        {"name": "main.awk", "content": ""},
        {"name": "a", "content": "text"},
        {"name": "b", "content": "bytes"},
        {"name": "c", "content": "/w==", "encoding": "base64"},
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ["a"]}, "no keyword argument 'inputs'; did you mean 'input'?"),
        ({"timeout": 5}, "no keyword argument 'timeout'; did you mean 'timeout_s'?"),
        ({"zzz": 1}, "no keyword argument 'zzz': there are args, compile, env, "),
        ({"files": {"d": 123}}, "the content of the file 'd' must be str, bytes or Path, not int"),
    ],
)
def test_wrong_arguments_are_named(client: Client, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        client.run("", language=None, **options)


def test_wrong_arguments_of_map_are_named(client: Client) -> None:
    wrong: Any = {"memory": 5}
    with pytest.raises(TypeError, match="no keyword argument 'memory'; did you mean 'memory_bytes'"):
        next(client.map("", ["1"], language=None, **wrong))


def test_no_more_requests_run_at_a_time_than_allowed(server: Server, client: Client) -> None:
    server.replies = [finished()]
    assert len(list(client.run_many([{"run": "true"}] * 10, concurrency=3))) == 10
    ids = [body["id"] for _, _, body in server.asked]
    assert len(set(ids)) == 10


def test_a_refused_request_of_many_is_raised(server: Server, client: Client) -> None:
    server.replies = [finished(), problem(422)]
    with pytest.raises(RequestRefusedError):
        list(client.run_many([{"run": "true"}] * 3, concurrency=1))


LEFT_EARLY = """
import sys
from envicutor_client import Client

def requests():
    yield {"run": "sleep 300"}
    sys.exit("left early")

list(Client(sys.argv[1]).run_many(requests()))
"""


def test_neither_iteration_nor_process_waits_for_results_that_are_not_wanted(server: Server) -> None:
    server.replies = [reply("started")]  # for ever
    process = subprocess.run(
        [sys.executable, "-c", LEFT_EARLY, server.url], stderr=subprocess.PIPE, timeout=60
    )
    assert process.stderr == b"left early\n"


def test_many_ids_are_asked_for_in_parts(server: Server, client: Client) -> None:
    found = b'{"submissions": [null, {"id": "b", "status": "started", "created_at": ""}], "next": null}'
    server.replies = [(200, {}, found)]
    result = client.get_many([str(number) for number in range(101)])
    assert [each and each.status for each in result] == [None, "started"] * 2
    assert server.asked[0][1].startswith("/submissions?id=0&id=1&")
    assert server.asked[1][1] == "/submissions?id=100"


def test_a_program_is_shown_live(server: Server, client: Client) -> None:
    chunk = {"attempt": 1, "worker": "w", "stage": "run", "case": 0, "stream": "stdout", "sequence": 0}
    answer = {"id": "one", "status": "finished", "created_at": "", "run": [{"stdout": "one two"}]}
    server.replies = [stream(("output", chunk | {"offset_bytes": 0, "text": "one "}), ("end", answer))]
    assert [printed.text for printed in client.stream("one")] == ["one ", "two"]


def test_a_server_that_restarts_is_waited_for(server: Server) -> None:
    server.server_close()

    def restart() -> None:
        time.sleep(0.7)
        with serving(server.server_port) as again:
            again.replies = [finished(stdout="hi")]
            assert asked.result(60).stdout == "hi"

    with Client(server.url) as client, ThreadPoolExecutor() as pool:
        asked = pool.submit(client.run_request, {"run": "true"})
        restart()


def test_a_client_gives_up_after_its_time(server: Server) -> None:
    server.replies = [(503, {"Retry-After": "0"}, b"")]
    with Client(server.url, retry_s=0.5) as client, pytest.raises(UnavailableError):
        client.get("one")
    assert len(server.asked) == 3  # at 0, 0.1 and 0.6 s


def test_the_same_for_asyncio(server: Server) -> None:
    async def scenario() -> Any:
        async with AsyncClient(server.url) as client:
            ran = await client.run("", language="cpp")
            many = [result async for result in client.run_many([{"run": "true"}] * 5, concurrency=2)]
            mapped = [result async for result in client.map("", ["1", "2"], language="cpp")]
            return [ran, *many, *mapped]

    server.replies = [languages(CPP), finished(stdout="hi")]
    assert {result.stdout for result in asyncio.run(scenario())} == {"hi"}
    assert len(server.asked) == 9
