"""Session of one client: requests are read whole, checked and forwarded one after the other.

The broker, too, handles the requests of a connection one after the other.
"""

import asyncio
import struct
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from infra.kafka.gateway.admission import GROUPS, PRODUCERS, PRODUCERS_S, Admission, NotAdmittedError
from infra.kafka.gateway.groups import group_of
from infra.kafka.gateway.produce import (
    MESSAGE_TOO_LARGE,
    POLICY_VIOLATION,
    Produce,
    Refusal,
    read_produce,
    refusal,
    refuse,
)
from infra.kafka.gateway.scram import user_of
from infra.kafka.properties import LARGEST_REQUEST_BYTES
from topics.request.limits import KiB

LOGIN_S = 10.0
"""Deadline of a login, TLS included, from the time at which the connection was accepted."""
FRAME_S = 60.0
"""Deadline for the rest of a request after its first byte, and for writing a piece of a response."""
IDLE_S = 600.0
"""Deadline for the next request. Kafka's own default is the same (`connections.max.idle.ms`)."""
LOOK_S = 5.0
"""Interval at which a session that waits for the broker checks that its client is still connected."""

_HEADER_BYTES = 8
"""Smallest size of a request: API key, version and correlation id."""
_LOGIN_BYTES = 8 * KiB
"""Largest request before the end of the login."""
_REQUEST_BYTES = 64 * KiB
"""Largest request other than Produce. Such requests name a few topics."""
_GROUP_BYTES = 4 * KiB
"""Largest request that may create a group or a member. The broker keeps the member's metadata in it."""
_AROUND_BATCH_BYTES = 16 * KiB
"""Room for the other parts of a Produce request with the largest batch."""
_BEGINNING_BYTES = 4 * KiB
"""Beginning of a request that is too large. Topic and partition are parsed from it for the response."""
_PIECE_BYTES = 64 * KiB

_PRODUCE, _SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE = 0, 17, 18, 36
_LOGIN_REQUESTS = {_SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE}
_MESSAGES_OF_SCRAM = 2
"""Messages of each side in a SCRAM login. After the second one the broker has verified the password."""
_SASL_AUTHENTICATE_FLEXIBLE = 2

Connect = Callable[[], Awaitable[tuple[StreamReader, StreamWriter]]]


class ProtocolError(Exception):
    """The client sent a request that no Kafka client sends."""


class Session:
    """Connection of a client, its login, and its connection to the broker."""

    def __init__(
        self,
        client: tuple[StreamReader, StreamWriter],
        connect: Connect,
        admission: Admission,
        largest_batch_bytes: int,
    ) -> None:
        self._reader, self._writer = client
        self._connect, self._admission = connect, admission
        self._largest_batch_bytes = largest_batch_bytes
        self._verified = 0
        self.user: str | None = None
        """User that the client logs in as. The broker has verified the user once the login is over."""

    @property
    def _logged_in(self) -> bool:
        return self._verified == _MESSAGES_OF_SCRAM

    async def run(self, login: asyncio.Timeout, task: "asyncio.Task[None]") -> None:
        """Forward requests and responses until either side closes; `login` is the deadline of the login.

        Raises:
            ProtocolError, MalformedError, NotAdmittedError: the client sent a request that is not allowed.
            OSError, EOFError, TimeoutError: the client or the broker closed the connection, or was too slow.
        """
        async with AsyncExitStack() as stack:
            broker: tuple[StreamReader, StreamWriter] | None = None
            while frame := await self._next_request():
                if broker is None:
                    broker = await self._connect()
                    stack.callback(broker[1].transport.abort)
                await self._pass_on(frame, *broker)
                if self._logged_in and login.when() is not None:
                    login.reschedule(None)
                    self._admission.forget(task)
                    stack.enter_context(self._admission.logged_in(self.user or ""))

    async def _next_request(self) -> bytes:
        """Return the next request for the broker, without its length, or empty at the end of the connection.

        Produce requests that the broker must not receive are refused here.
        """
        while True:
            async with asyncio.timeout(IDLE_S):
                first = await self._reader.read(1)
            if not first:
                return b""
            async with asyncio.timeout(FRAME_S):
                size, key = struct.unpack(">ih", first + await self._reader.readexactly(5))
                frame = await self._read(size, key)
            if key != _PRODUCE:
                self._look_for_group(frame)
                return frame
            if response := await self._look(frame, is_whole=len(frame) == size):
                self._writer.write(response)
                await self._drained()
            else:
                return frame

    async def _read(self, size: int, key: int) -> bytes:
        """Return a request, or only the beginning of a Produce request that is too large."""
        start = struct.pack(">h", key)
        if not self._logged_in:
            if key not in _LOGIN_REQUESTS:
                raise ProtocolError(f"a request of kind {key} before the login")
            most_bytes = _LOGIN_BYTES
        elif key == _PRODUCE:
            most_bytes = self._largest_batch_bytes + _AROUND_BATCH_BYTES
        else:
            most_bytes = _REQUEST_BYTES
        if _HEADER_BYTES <= size <= most_bytes:
            return start + await self._reader.readexactly(size - len(start))
        if key != _PRODUCE or not most_bytes < size <= LARGEST_REQUEST_BYTES:
            raise ProtocolError(f"a request of kind {key} with {size} bytes instead of at most {most_bytes}")
        beginning = await self._reader.readexactly(_BEGINNING_BYTES)
        await self._skip(size - len(start) - len(beginning))
        return start + beginning

    async def _skip(self, size: int) -> None:
        while size > 0:
            piece = await self._reader.read(min(size, _PIECE_BYTES))
            if not piece:
                raise EOFError
            size -= len(piece)

    def _look_for_group(self, frame: bytes) -> None:
        group = group_of(frame)
        if group is None:
            return
        if len(frame) > _GROUP_BYTES:
            raise ProtocolError(
                f"a request of a group with {len(frame)} bytes instead of at most {_GROUP_BYTES}"
            )
        if not self._admission.groups.admit(self.user or "", group, time.monotonic()):
            raise NotAdmittedError(f"user {self.user!r} has used {GROUPS} consumer groups within a day")

    async def _look(self, frame: bytes, *, is_whole: bool) -> bytes | None:
        """Return a response that refuses a Produce request, or None if the broker may receive the request."""
        produce = read_produce(frame, cut=not is_whole)
        why: Refusal | None
        if is_whole:
            why = await asyncio.to_thread(refusal, produce, self._largest_batch_bytes)
            why = why or self._too_many_producers(produce)
        else:
            why = Refusal(MESSAGE_TOO_LARGE, f"the request has more than {self._largest_batch_bytes} bytes")
        if why is None:
            return None
        if produce.acks == 0:  # the client expects no response, so close the connection as Kafka does
            raise ProtocolError(why.reason)
        return refuse(produce, why)

    def _too_many_producers(self, produce: Produce) -> Refusal | None:
        ids = (batch.producer_id for batch in produce.batches)
        producers, user, now_s = self._admission.producers, self.user or "", time.monotonic()
        if all(id < 0 or producers.admit(user, id, now_s) for id in ids):
            return None
        return Refusal(POLICY_VIOLATION, f"more than {PRODUCERS} idempotent producers within {PRODUCERS_S} s")

    async def _pass_on(self, frame: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        key, version = struct.unpack_from(">hh", frame)
        if key == _SASL_AUTHENTICATE and self._verified == 0:  # later messages name no user
            self.user = user_of(frame, flexible=version >= _SASL_AUTHENTICATE_FLEXIBLE)
        writer.write(struct.pack(">i", len(frame)) + frame)
        async with asyncio.timeout(FRAME_S):
            await writer.drain()
        if key == _PRODUCE and read_produce(frame).acks == 0:
            return
        length = await self._unless_client_leaves(reader.readexactly(4))
        (size,) = struct.unpack(">i", length)
        start = await reader.readexactly(min(size, 16))
        if key == _SASL_AUTHENTICATE and _succeeded(start, version):
            self._verified += 1
        self._writer.write(length + start)
        await self._copy(size - len(start), reader)

    async def _unless_client_leaves(self, response: Coroutine[Any, Any, bytes]) -> bytes:
        """Wait for the broker as long as the client stays connected. A request may ask it to wait.

        Raises:
            EOFError: the client has closed the connection.
        """
        waiting = asyncio.ensure_future(response)
        try:
            while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
                if self._reader.at_eof() or self._writer.is_closing():
                    raise EOFError
            return waiting.result()
        finally:
            waiting.cancel()

    async def _copy(self, size: int, reader: StreamReader) -> None:
        await self._drained()
        while size > 0:
            piece = await reader.read(min(size, _PIECE_BYTES))
            if not piece:
                raise EOFError
            self._writer.write(piece)
            await self._drained()
            size -= len(piece)

    async def _drained(self) -> None:
        async with asyncio.timeout(FRAME_S):
            await self._writer.drain()


def _succeeded(start: bytes, version: int) -> bool:
    """Return whether a response to SaslAuthenticate has no error code; `start` is its beginning."""
    at = 5 if version >= _SASL_AUTHENTICATE_FLEXIBLE else 4
    return len(start) >= at + 2 and start[at : at + 2] == b"\0\0"
