"""HTTP server: uvicorn, with bounds on the memory and time that a connection may use."""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ingest.addresses import Addresses
from ingest.events import EventStreams
from ingest.problems import ProblemError, response
from ingest.request_body import BODY_S
from ingest.settings import IngestSettings
from topics.process import release_memory, tune_gc

log = logging.getLogger(__name__)

OnServing = Callable[[Callable[[], None]], None]
"""Called in the event loop, once the server listens, with a function that stops the server."""

HEAD_BYTES = 32 * 1024
"""Largest size of a request's path and headers together."""
HEAD_S = 15.0
"""Time that a client may take to send path and headers."""
STUCK_S = 30.0
"""Time for which a client may read nothing while its response waits to be sent."""
LINGER_S = 5.0
"""Time that a client may continue to send its request after the response, before the connection ends."""
_BODY_GRACE_S = 5.0
"""Time after `BODY_S` until the connection ends, in which `json_body` answers 408."""
_RELEASE_S = 60.0
"""Period in which freed memory is returned to the kernel. Without it, 20,000 submissions leave 5 MiB more."""
_OTHER_FILES = 256
"""File descriptors reserved for everything but connections: tables, Kafka clients, files of the page."""


class Server(uvicorn.Server):
    """Server that ends event streams first when it shuts down, since they would delay it."""

    def __init__(self, app: FastAPI, settings: IngestSettings, on_serving: OnServing | None = None) -> None:
        """Serve `app`. With `on_serving` the caller handles signals, otherwise uvicorn does."""
        connections = _allowed(settings.http_connections)
        addresses = Addresses(settings.http_connections_per_address, settings.http_trusted_addresses)
        config = uvicorn.Config(
            app,
            host=settings.http_host,
            port=settings.http_port,
            loop="uvloop",
            http=partial(BoundedProtocol, addresses=addresses),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=3,
            backlog=4096,
            limit_concurrency=connections,
        )
        super().__init__(config)
        self._events: EventStreams = app.state.events
        self._address = f"{settings.http_host}:{settings.http_port}"
        self._on_serving = on_serving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install uvicorn's signal handlers, unless the caller handles signals."""
        if self._on_serving is None:
            with super().capture_signals():
                yield
        else:
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then call `on_serving` and tune the garbage collector."""
        await super().startup(sockets)
        if self._on_serving is not None:
            self._on_serving(lambda: self.handle_exit(signal.SIGTERM, None))
        log.info("ingest: listens on %s for HTTP", self._address)
        tune_gc()
        self._releasing = asyncio.create_task(_release_memory_repeatedly())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all event streams, then shut down as uvicorn does."""
        self._releasing.cancel()
        self._events.close()
        await super().shutdown(sockets)


async def _release_memory_repeatedly() -> None:
    while True:
        await asyncio.sleep(_RELEASE_S)
        await asyncio.to_thread(release_memory)


class _Deadline:
    """A timer that ends a connection unless it is cleared in time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
        self._loop, self._end = loop, end
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether a deadline is set that has not been cleared."""
        return self._timer is not None

    def set(self, delay_s: float) -> None:
        """End the connection `delay_s` from now; this replaces an earlier deadline."""
        self.clear()
        self._timer = self._loop.call_later(delay_s, self._end)

    def clear(self) -> None:
        """Cancel the deadline, if one is set."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Closing:
    """The part of a transport that a response uses, with another `close`."""

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class BoundedProtocol(HttpToolsProtocol):
    """Connection that is refused or ended if it exceeds a bound."""

    _head_bytes = 0
    _refusal: ProblemError | None = None
    _counted: str | None = None
    """The client's address, while this connection is counted in `Addresses`."""
    _keep_alive = False
    """Whether the connection may be reused after the request that is being read."""
    _lingering = False
    """Whether the last response was sent, so that all further input is discarded."""

    def __init__(self, *arguments: Any, addresses: Addresses, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._addresses = addresses

    def connection_made(self, transport: Any) -> None:
        """Count the connection, or refuse it with 503 or 429 if there are too many."""
        super().connection_made(transport)
        self._head_deadline = _Deadline(self.loop, lambda: self._end_late(self._head_deadline, HEAD_S))
        self._body_deadline = _Deadline(self.loop, lambda: self._end_late(self._body_deadline, BODY_S))
        self._stuck_deadline = _Deadline(self.loop, transport.abort)
        address = self.client[0] if self.client else ""
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            detail = f"{self.limit_concurrency} connections are open, the limit ENVICUTOR_HTTP_CONNECTIONS"
            self._refuse(503, "unavailable", detail)
        elif address and not self._addresses.enter(address):
            detail = (
                f"{self._addresses.most} connections of {address} are open, the limit "
                "ENVICUTOR_HTTP_CONNECTIONS_PER_ADDRESS: close one. (A proxy's address belongs in "
                "ENVICUTOR_HTTP_TRUSTED_ADDRESSES.)"
            )
            self._refuse(429, "too-many-connections", detail)
        else:
            self._counted = address
            self._head_deadline.set(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clear the deadlines, and uncount the connection."""
        for deadline in (self._head_deadline, self._body_deadline, self._stuck_deadline):
            deadline.clear()
        if self._counted:
            self._addresses.leave(self._counted)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, with a deadline even if the data start no request, such as empty lines."""
        if self._lingering or self.transport.is_closing():
            return
        super().data_received(data)
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and not (self._lingering or self._head_deadline.running or self.transport.is_closing()):
            self._head_deadline.set(HEAD_S)

    def on_message_begin(self) -> None:
        """Start to count the bytes of path and headers, with a deadline."""
        self._head_bytes = 0
        self._head_deadline.set(HEAD_S)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a part of the path towards `HEAD_BYTES`."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header towards `HEAD_BYTES`."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Allow reuse of the connection only after the whole body: see `on_message_complete`."""
        self._head_deadline.clear()
        self._body_deadline.set(BODY_S + _BODY_GRACE_S)
        super().on_headers_complete()
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
        self.cycle.transport = _Closing(self.transport, partial(self._close, self.cycle))  # type: ignore[assignment]  # acts as one

    def on_message_complete(self) -> None:
        """Restore keep-alive, unless the response began before the end of the request."""
        self._body_deadline.clear()
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, unless this response was the last one."""
        if self._lingering:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()

    def pause_writing(self) -> None:
        """Set a deadline while the client does not read."""
        self._stuck_deadline.set(STUCK_S)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Clear the deadline when the client reads again."""
        self._stuck_deadline.clear()
        super().resume_writing()

    def shutdown(self) -> None:
        """Answer the present request, then end the connection."""
        self._keep_alive = False
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Send the refusal of this connection, or a 400 for a malformed request, and close it."""
        problem = self._refusal or ProblemError(400, "not-http", f"{msg} Use HTTP/1.1.")
        answer = response(problem)
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nconnection: close\r\n"
        self.transport.write(f"{status}{head}\r\n".encode() + bytes(answer.body))
        self.transport.close()

    def _refuse(self, status: int, kind: str, detail: str) -> None:
        self._refusal = ProblemError(status, kind, detail, headers={"Retry-After": "2"})
        self.send_400_response("")

    def _close(self, cycle: RequestResponseCycle) -> None:
        """Close after a response, but first let a client that still sends read the response.

        The kernel resets a connection that is closed with unread data; the client may then lose the response.
        """
        if not cycle.more_body or self.transport.is_closing():
            self.transport.close()
            return
        self._lingering = True
        self._body_deadline.clear()
        self._head_deadline.set(LINGER_S)
        self.flow.resume_reading()
        self.transport.write_eof()

    def _end_late(self, deadline: _Deadline, again_s: float) -> None:
        """End the connection, or extend the deadline while reading is paused for an earlier response."""
        if self.pipeline:
            deadline.set(again_s)
        else:
            self.transport.abort()

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > HEAD_BYTES:
            detail = f"path and headers together have more than {HEAD_BYTES} bytes: send less"
            self._refusal = ProblemError(431, "head-too-large", detail)
            raise self._refusal  # ends the parser, which leads to `send_400_response`


def _allowed(connections: int) -> int:
    """Return how many connections the limit of open files allows, after raising it as far as needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - _OTHER_FILES
