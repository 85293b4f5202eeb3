"""A client for HTTP that costs little, since it shares the machine with what is measured."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests.benchmarks.load import ANSWER_S, WAIT_S, Job

WAITING = f"/submissions?wait=true&wait_timeout_s={WAIT_S}"


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Connection:
    """One request after the other, to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        """Connect, also again."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def post(self, path: str, body: bytes, key: str = "") -> Reply:
        """Send JSON and wait for the reply."""
        head = f"{_head('POST', path, key)}Content-Type: application/json\r\n"
        return await self._request(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def get(self, path: str, key: str = "") -> Reply:
        """Ask, and wait for the reply."""
        return await self._request(f"{_head('GET', path, key)}\r\n".encode())

    async def delete(self, path: str, key: str = "") -> Reply:
        """Ask for an end, and wait for the reply."""
        return await self._request(f"{_head('DELETE', path, key)}\r\n".encode())

    async def _request(self, request: bytes) -> Reply:
        try:
            return await self._exchange(request)
        except (ConnectionError, asyncio.IncompleteReadError):  # the server closes what was idle for a while
            await self.open()
            return await self._exchange(request)

    async def _exchange(self, request: bytes) -> Reply:
        self._writer.write(request)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        return Reply(int(lines[0].split()[1]), await self._reader.readexactly(length))

    def close(self) -> None:
        """Say no more."""
        self._writer.close()


def _head(method: str, path: str, key: str) -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (
        f"Authorization: Bearer {key}\r\n" if key else ""
    )


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """So many, open at once."""
    opened = [Connection(port) for _ in range(count)]
    for connection in opened:
        await connection.open()
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def answered(connection: Connection, job: Job) -> dict[str, Any]:
    """Submit and wait for the answer; raises RuntimeError where it does not end as it must."""
    reply = await connection.post(WAITING, json.dumps(job.request).encode(), job.key)
    body: dict[str, Any] = json.loads(reply.body)
    deadline = time.monotonic() + ANSWER_S
    while "id" in body and not body.get("finished_at") and time.monotonic() < deadline:
        await asyncio.sleep(0.1)  # on a slow machine it may take longer than a request may wait
        body = json.loads((await connection.get(f"/submissions/{body['id']}", job.key)).body)
    if body.get("outcome") != job.outcome:
        raise RuntimeError(f"expected {job.outcome}: {body}")
    return body


async def closed_loop(loops: Sequence[Callable[[], Awaitable[object]]], seconds: float) -> float:
    """How often all together, each beginning again at once; what is not over at the end counts in part."""
    end = time.perf_counter() + seconds

    async def loop(once: Callable[[], Awaitable[object]]) -> float:
        count = 0.0
        while (started := time.perf_counter()) < end:
            await once()
            ended = time.perf_counter()
            count += 1 if ended <= end else (end - started) / (ended - started)
        return count

    return sum(await asyncio.gather(*map(loop, loops)))
