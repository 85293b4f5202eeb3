"""Event streams: from what a program prints to who follows it, alone and beside thousands of others."""

import asyncio
import re
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from envicutor_client import AsyncClient
from envicutor_client.models import OutputChunk
from infra.commands.output import print_note
from infra.local import LocalCluster
from infra.settings import LocalSettings
from tests.benchmarks.measuring import milliseconds, percentile, print_table, write_results
from topics.request.limits import MiB

DATA_DIR = Path("/var/lib/envicutor-bench-http")
PRINTS = {
    # The clock is the machine's, also in the sandbox.
    "run": ["python3", "-uc", "import time; print(time.monotonic()); time.sleep(0.5)"],
    "dependencies": {"packages": ["python3"]},
}
WAITS = {"run": ["sleep", "60"], "limits": {"run": {"wall_time_s": 60}}, "test_cases": [{}] * 20}
"""Twenty minutes, unless it is cancelled."""
ALONE, BESIDE = "alone", "beside the others"
OPENED_AT_ONCE = 200
OPEN_S = 300.0
END_S = 60.0


def measure(rounds: int, streams: int) -> None:
    """Measure, print, write."""
    found = asyncio.run(_measure(rounds, streams))
    _print(Console(width=100), found)
    print_note(f"wrote {write_results('http', found)}")


async def _measure(rounds: int, streams: int) -> dict[str, Any]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    settings = LocalSettings(data_dir=DATA_DIR, http_port=0, kafka_port=0, log_level="WARNING")
    async with LocalCluster(settings, print_note) as cluster, AsyncClient(cluster.url) as client:
        await client.wait((await client.submit(PRINTS)).id, OPEN_S)  # the environment is there
        print_note(f"measuring: {rounds} programs that print")
        delays_s = {ALONE: [await _delay_s(client) for _ in range(rounds)]}
        followed = await client.submit(WAITS)
        before_bytes = _resident_bytes(DATA_DIR)
        print_note(f"opening {streams} streams")
        began = time.monotonic()
        async with _open(cluster.http_port, followed.id, streams) as ends:
            opened_s = time.monotonic() - began
            memory_bytes = _resident_bytes(DATA_DIR) - before_bytes
            delays_s[BESIDE] = [await _delay_s(client) for _ in range(rounds)]
            cancelled = time.monotonic()
            await client.cancel(followed.id)
            ended_s = [at - cancelled for at in await asyncio.wait_for(ends, END_S)]
    return {
        "streams": streams,
        "print_to_line_s": delays_s,
        "open_s": opened_s,
        "bytes_per_stream": memory_bytes / streams,
        "cancel_to_end_s": ended_s,
    }


async def _delay_s(client: AsyncClient) -> float:
    """From the clock that the program printed to the line of it that arrives."""
    id = (await client.submit(PRINTS)).id
    delay_s: float | None = None
    async for event in client.events(id):
        if isinstance(event.data, OutputChunk):
            delay_s = time.monotonic() - float(event.data.text)
    if delay_s is None:
        raise RuntimeError(f"nothing was heard of {id} while it ran")
    return delay_s


@asynccontextmanager
async def _open(port: int, id: str, streams: int) -> AsyncIterator["asyncio.Future[list[float]]"]:
    """Streams of a submission; the future has when each of them ended."""
    opening, connected = asyncio.Semaphore(OPENED_AT_ONCE), []

    async def connect() -> "asyncio.Task[float]":
        async with opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
            writer.write(f"GET /submissions/{id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await reader.readuntil(b"event: started")
            return asyncio.create_task(_ended(reader, writer))

    async with asyncio.timeout(OPEN_S):
        connected = await asyncio.gather(*(connect() for _ in range(streams)))
    yield asyncio.gather(*connected)


async def _ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    await reader.readuntil(b"event: end\n")
    at = time.monotonic()
    writer.close()
    return at


def _resident_bytes(data_dir: Path) -> int:
    """Of the ingest node."""
    pid = (data_dir / "run" / "ingest-0.pid").read_text()
    status = Path("/proc", pid.strip(), "status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def _print(console: Console, found: dict[str, Any]) -> None:
    rows = [
        [name, milliseconds(statistics.median(taken)), milliseconds(percentile(taken, 0.99))]
        for name, taken in {
            **{f"print to line, {name}": taken for name, taken in found["print_to_line_s"].items()},
            "cancelled to the end of each stream": found["cancel_to_end_s"],
        }.items()
    ]
    print_table(console, f"{found['streams']} event streams", ["what", "p50", "p99"], rows)
    memory = found["bytes_per_stream"]
    console.print(f"opened in {found['open_s']:.1f} s; {memory / 1024:.1f} KiB of memory each")
    console.print(f"{memory * found['streams'] / MiB:.0f} MiB together")
