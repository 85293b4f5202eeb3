"""Server of the gateway: it accepts connections, and runs a session for each."""

import asyncio
import logging
import signal
import socket
import ssl
import time
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import Coroutine
from typing import Any

from infra.kafka.gateway.admission import Admission, NotAdmittedError
from infra.kafka.gateway.reader import MalformedError
from infra.kafka.gateway.session import LOGIN_S, ProtocolError, Session
from infra.kafka.gateway.settings import GatewayAddresses, GatewaySettings
from infra.kafka.ports import LOOPBACK

log = logging.getLogger(__name__)

_BACKLOG = 512
_BUFFER_BYTES = 64 * 1024
_NO_DESCRIPTOR_S = 0.1
"""Pause after a connection that could not be accepted, since descriptors become free only with time."""

Streams = tuple[StreamReader, StreamWriter]


class Gateway:
    """Listeners of the gateway, one for each broker, and their connections."""

    def __init__(self, settings: GatewaySettings, addresses: GatewayAddresses) -> None:
        """Load the certificates.

        Raises:
            OSError: a certificate cannot be read.
        """
        self._addresses = addresses
        self._admission = Admission(settings)
        self._client_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._client_tls.load_cert_chain(addresses.certificate_file)
        self._broker_tls = ssl.create_default_context(cafile=addresses.ca_file)
        self._broker_tls.load_cert_chain(addresses.certificate_file)
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained_at = 0.0

    async def run(self) -> None:
        """Serve until SIGTERM.

        Raises:
            OSError: a port is in use.
        """
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        for port, behind in self._addresses.ports.items():
            listener = socket.create_server((LOOPBACK, port), backlog=_BACKLOG)
            listener.setblocking(False)
            self._keep(self._accept(listener, behind))
        log.info("gateway: clients of Kafka on %s", ", ".join(map(str, self._addresses.ports)))
        await stopped.wait()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket, behind: int) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    client, (address, *_) = await loop.sock_accept(listener)
                except OSError as error:  # for example, no descriptor is left until a connection closes
                    log.warning("gateway: no connection can be accepted: %s", error)
                    await asyncio.sleep(_NO_DESCRIPTOR_S)
                else:
                    self._keep(self._serve(client, address, behind))

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket, address: str, behind: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        session: Session | None = None
        with self._admission.logging_in(task, address):
            try:
                async with asyncio.timeout(LOGIN_S) as login:
                    streams = await self._encrypted(client)
                    try:
                        session = Session(
                            streams,
                            lambda: self._connect(behind),
                            self._admission,
                            self._addresses.largest_batch_bytes,
                        )
                        await session.run(login, task)
                    finally:
                        streams[1].transport.abort()
            except (ProtocolError, MalformedError, NotAdmittedError) as error:
                self._complain(address, session.user if session else None, error)
            except TimeoutError:
                self._complain(address, session.user if session else None, "timed out")
            except ssl.SSLError as error:
                self._complain(address, None, error)
            except (OSError, EOFError):  # the peer has closed the connection
                pass

    def _complain(self, address: str, user: str | None, error: Exception | str) -> None:
        """Log why a connection was closed, at most once a second, since clients reconnect at once."""
        now = time.monotonic()
        if now - self._complained_at > 1:
            log.warning("gateway: closed a connection from %s, user %r: %s", address, user, error)
            self._complained_at = now

    async def _encrypted(self, client: socket.socket) -> Streams:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        reader = StreamReader(limit=_BUFFER_BYTES)
        protocol = StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, client, ssl=self._client_tls, ssl_handshake_timeout=LOGIN_S
        )
        return reader, StreamWriter(transport, protocol, reader, loop)

    async def _connect(self, port: int) -> Streams:
        return await asyncio.open_connection(LOOPBACK, port, ssl=self._broker_tls, limit=_BUFFER_BYTES)
