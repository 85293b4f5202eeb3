"""The only network of a sandbox that fetches: an HTTP proxy on a Unix socket, to configured hosts only.

In the sandbox, `nix.registries.inside.tunnel` listens on the loopback interface and forwards connections
to the socket. TLS also ends in the sandbox: the relay sees neither requests nor responses.
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
"""Most connections at a time; further ones wait."""
PIECE_BYTES = 64 << 10
REMEMBERED = 20
"""Number of refusals, and of faults, to keep: a program may repeat its requests without end."""
CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}):([0-9]{1,5}) HTTP/1\.[01]\r\n")


def destination(head: bytes) -> Host | None:
    """Return the host that a CONNECT request names, None for any other request."""
    found = CONNECT.match(head)
    return (found[1].decode().lower(), int(found[2])) if found else None


class Relay:
    """Proxy that connects to the hosts in `allowed` and refuses all other requests."""

    def __init__(self, allowed: Set[Host]) -> None:
        self._allowed = allowed
        self._free = asyncio.Semaphore(CONNECTIONS)
        self.faults: deque[str] = deque(maxlen=REMEMBERED)
        """Hosts that could not be reached, each with the reason."""
        self.refused: deque[str] = deque(maxlen=REMEMBERED)
        """Hosts of refused requests, as settings name them; empty if a request was not a CONNECT."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end.

        Raises:
            OSError: the connection broke.
            asyncio.IncompleteReadError: the connection ended before its request was complete.
            asyncio.LimitOverrunError: the request is larger than the reader's buffer.
        """
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
