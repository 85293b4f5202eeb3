"""Benchmarks on a slow machine: what takes longer than expected is waited for."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.cpu import CpuMeter
from tests.benchmarks.http_load import answered, connections
from tests.benchmarks.load import WAIT_S, Job, answer

STATES = [
    {"id": "slow", "status": "started", "finished_at": None, "outcome": None},
    {"id": "slow", "status": "started", "finished_at": None, "outcome": None},
    {"id": "slow", "status": "finished", "finished_at": "2026-01-01T00:00:00Z", "outcome": "ok"},
]
"""What a server answers to a submission that takes longer than a request may wait, and then to each look."""


def test_an_answer_that_takes_longer_than_a_request_may_wait_is_looked_for() -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for state in STATES:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            asked.append(head.split(" ")[0])
            if "content-length: " in head:
                await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            body = json.dumps(state).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async def outcome() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, connections(port, 1) as [connection]:
            try:
                return (await answered(connection, Job({"run": "true"}, "ok")))["outcome"]
            except RuntimeError as error:
                return error

    assert asyncio.run(outcome()) == "ok"
    assert asked == ["post", "get", "get"]


def test_a_server_may_take_as_long_for_each_look_as_for_the_first() -> None:
    patience_s: list[float] = []
    states = iter(STATES)

    def respond(request: httpx.Request) -> httpx.Response:
        patience_s.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json=next(states))

    async def asked() -> dict[str, Any]:
        transport = httpx.MockTransport(respond)
        async with httpx.AsyncClient(base_url="http://bench.test", transport=transport) as http:
            return await answer(http, Job({"run": "true"}, "ok"))

    assert asyncio.run(asked())["outcome"] == "ok"
    assert len(patience_s) == len(STATES)
    assert min(patience_s) > WAIT_S


def test_a_role_that_is_being_started_again_has_no_cpu_time_meanwhile(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "ended-0.pid").write_text(f"{ended.pid}\n")
    (tmp_path / "lives-0.pid").write_text(f"{os.getpid()}\n")
    meter = CpuMeter(tmp_path)

    async def count() -> float:
        return 1.0

    async def measured() -> object:
        try:
            return await meter.over(count())
        except OSError as error:
            return error

    assert asyncio.run(measured()) == 1.0
    assert set(meter.per_one()) == {"lives-0"}
