"""What a program prints while it runs becomes pieces that can be put together again."""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.worker.live_output import BATCH_BYTES, UNACKNOWLEDGED, AttemptOutput, LiveOutputPublisher
from topics.settings import KafkaSettings
from topics.submissions.output import OutputChunk

DEADLINE_S = 30.0
Stream = Literal["stdout", "stderr"]


def bytes_of(chunk: OutputChunk) -> bytes:
    return base64.b64decode(chunk.text) if chunk.encoding == "base64" else chunk.text.encode()


async def take(chunks: "asyncio.Queue[OutputChunk]", size: int) -> list[OutputChunk]:
    """Pieces until they have so many bytes together."""
    taken: list[OutputChunk] = []
    async with asyncio.timeout(DEADLINE_S):
        while sum(len(bytes_of(chunk)) for chunk in taken) < size:
            taken.append(await chunks.get())
    return taken


async def told(printed: Sequence[tuple[Stream, bytes]], size: int) -> list[OutputChunk]:
    """The pieces that come of what is printed, up to so many bytes."""
    chunks: asyncio.Queue[OutputChunk] = asyncio.Queue()
    listener = AttemptOutput(2, "w", chunks.put_nowait).listener("run", 0)
    for stream, data in printed:
        listener(stream, data)
    return await take(chunks, size)


def test_small_writes_share_a_piece() -> None:
    [chunk] = asyncio.run(told([("stdout", b"a"), ("stdout", b"b\n")], 3))
    assert chunk == OutputChunk(
        attempt=2, worker="w", stage="run", case=0, stream="stdout", sequence=0, offset_bytes=0, text="ab\n"
    )


def test_a_character_is_never_torn() -> None:
    euro = "€".encode()

    async def scenario() -> list[OutputChunk]:
        chunks: asyncio.Queue[OutputChunk] = asyncio.Queue()
        listener = AttemptOutput(1, "w", chunks.put_nowait).listener("compile")
        listener("stdout", b"x" * BATCH_BYTES + euro[:1])
        first = await take(chunks, BATCH_BYTES)
        listener("stdout", euro[1:] + b"y" * BATCH_BYTES)
        return first + await take(chunks, BATCH_BYTES)

    first, second = asyncio.run(scenario())
    assert (first.text, second.text) == ("x" * BATCH_BYTES, "€" + "y" * BATCH_BYTES)
    assert (second.sequence, second.offset_bytes) == (1, BATCH_BYTES)


def test_what_is_not_text_comes_as_base64() -> None:
    [chunk] = asyncio.run(told([("stderr", b"\xff\x00")], 2))
    assert (chunk.encoding, chunk.text, chunk.stream) == ("base64", "/wA=", "stderr")


def test_nothing_is_told_after_the_end() -> None:
    async def scenario() -> list[OutputChunk]:
        chunks: list[OutputChunk] = []
        output = AttemptOutput(1, "w", chunks.append)
        output.listener("run", 0)("stdout", b"late")
        output.close()
        await asyncio.sleep(0.1)
        return chunks

    assert asyncio.run(scenario()) == []


def test_a_broker_that_is_away_costs_the_work_nothing() -> None:
    async def scenario() -> tuple[int, float]:
        output = LiveOutputPublisher(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "output", "w")
        with output.of("id", 1) as attempt:
            for case in range(3 * UNACKNOWLEDGED):
                attempt.listener("run", case)("stdout", b"x" * BATCH_BYTES)
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)
        waiting = output.unacknowledged
        started = time.monotonic()
        await asyncio.to_thread(output.close)
        return waiting, time.monotonic() - started

    waiting, took_s = asyncio.run(scenario())
    assert waiting == UNACKNOWLEDGED
    assert took_s < DEADLINE_S


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1)), max_size=20))
def test_pieces_are_what_was_printed(printed: list[tuple[Stream, bytes]]) -> None:
    ended: list[tuple[Stream, bytes]] = [("stdout", b"\xff"), ("stderr", b"\xff")]  # so that nothing is held
    everything = [*printed, *ended]
    chunks = asyncio.run(told(everything, sum(len(data) for _, data in everything)))
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    for stream in ("stdout", "stderr"):
        whole = b""
        for chunk in (chunk for chunk in chunks if chunk.stream == stream):
            assert chunk.offset_bytes == len(whole)
            whole += bytes_of(chunk)
        assert whole == b"".join(data for name, data in everything if name == stream)
