"""The only network of a sandbox that fetches: a proxy on a Unix socket, to configured hosts and no others.

Inside, `nix.registries.inside.tunnel` listens on the loopback interface and passes everything on to the
socket. TLS ends inside as well: the relay sees neither what is asked nor what is answered.
"""

import asyncio
import re
from collections import deque
from collections.abc import Set
from contextlib import suppress

from nix.artifacts import Host, spelled

HEAD_S = 10.0
CONNECT_S = 20.0
CONNECTIONS = 64
"""At a time; more wait."""
PIECE_BYTES = 64 << 10
REMEMBERED = 20
"""Refusals and faults, the last of each: what asks may ask for ever."""
CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}):([0-9]{1,5}) HTTP/1\.[01]\r\n")


def destination(head: bytes) -> Host | None:
    """Return where a request wants to be connected to; None where it wants anything else."""
    found = CONNECT.match(head)
    return (found[1].decode().lower(), int(found[2])) if found else None


class Relay:
    """Connects those who ask for one of `allowed`, and refuses all else."""

    def __init__(self, allowed: Set[Host]) -> None:
        self._allowed = allowed
        self._free = asyncio.Semaphore(CONNECTIONS)
        self.faults: deque[str] = deque(maxlen=REMEMBERED)
        """Hosts that could not be reached, and why."""
        self.refused: deque[str] = deque(maxlen=REMEMBERED)
        """Hosts of requests that were refused, as settings name them; empty where it was no https."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection. Raises OSError when it ends before its time."""
        async with self._free:
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return
        host = destination(head)
        if host is None or host not in self._allowed:
            self.refused.append(spelled(host) if host else "")
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        try:
            async with asyncio.timeout(CONNECT_S):
                there_reader, there_writer = await asyncio.open_connection(*host)
        except (OSError, TimeoutError) as error:
            self.faults.append(f"{host[0]}:{host[1]}: {error or 'it does not answer'}")
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, there_writer))
                both.create_task(_pass_on(there_reader, writer))
        except* OSError:
            pass
        finally:
            there_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
