"""The HTTP server: uvicorn, with bounds on what a connection may cost."""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.events import Events
from ingest.problems import ProblemError, response
from ingest.settings import IngestSettings
from topics.garbage import collect_seldom

log = logging.getLogger(__name__)

OnServing = Callable[[Callable[[], None]], None]
"""Called in the event loop, once the server listens, with what makes it stop."""

HEAD_BYTES = 32 * 1024
"""Of a request's path and headers."""
HEAD_S = 15.0
"""How long a client may take for them."""
STUCK_S = 30.0
"""How long a client may read nothing of what it is sent."""
_FILES_BESIDE = 256
"""Descriptors that are not connections."""


class Server(uvicorn.Server):
    """Ends event streams first when it stops, so that nobody waits for them."""

    def __init__(self, app: FastAPI, settings: IngestSettings, on_serving: OnServing | None = None) -> None:
        """With `on_serving` the caller handles signals, else uvicorn does."""
        connections = _allowed(settings.http_connections)
        config = uvicorn.Config(
            app,
            host=settings.http_host,
            port=settings.http_port,
            loop="uvloop",
            http=BoundedProtocol,
            ws="none",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=3,
            backlog=4096,
            limit_concurrency=connections,
        )
        super().__init__(config)
        self._events: Events = app.state.events
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
        """Begin to serve."""
        await super().startup(sockets)
        if self.started and self._on_serving is not None:
            self._on_serving(lambda: self.handle_exit(signal.SIGTERM, None))
        log.info("ingest: listens on %s for HTTP", self._address)
        collect_seldom()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End everything in good order."""
        self._events.close()
        await super().shutdown(sockets)


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is refused or ended where it goes beyond what is allowed."""

    _head_bytes = 0
    _refusal: ProblemError | None = None
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Count it."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            headers = {"Retry-After": "2"}
            detail = f"{self.limit_concurrency} connections are open, which is the limit"
            self._refusal = ProblemError(503, "unavailable", detail, headers=headers)
            self.send_400_response("")
        else:
            self._end_in(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._in_time()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to count what comes."""
        self._head_bytes = 0
        self._end_in(HEAD_S)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a piece of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_time()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._end_in(STUCK_S)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._in_time()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say why, and end the connection."""
        problem = self._refusal or ProblemError(400, "not-http", f"{msg} Speak HTTP/1.1.")
        answer = response(problem)
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nconnection: close\r\n"
        self.transport.write(f"{status}{head}\r\n".encode() + bytes(answer.body))
        self.transport.close()

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > HEAD_BYTES:
            detail = f"path and headers together have more than {HEAD_BYTES} bytes: send less"
            self._refusal = ProblemError(431, "head-too-large", detail)
            raise self._refusal  # ends the parser, which leads to `send_400_response`

    def _end_in(self, delay_s: float) -> None:
        self._in_time()
        self._deadline = self.loop.call_later(delay_s, self.transport.abort)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _allowed(connections: int) -> int:
    """As many of them as this process may have files open; its own limit is raised if need be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES_BESIDE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - _FILES_BESIDE
