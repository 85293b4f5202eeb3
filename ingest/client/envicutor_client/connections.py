"""Connections of the clients to one server: requests with their tries, and streams with their resumption."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import httpx

from envicutor_client.calls import Call, http_arguments
from envicutor_client.errors import UnavailableError
from envicutor_client.events import END, RETRY_S, Resumption, StreamEvent, is_stream
from envicutor_client.failures import why_no_response
from envicutor_client.retries import Pauses, Tries

T = TypeVar("T")


class Connection:
    """Connection of `Client`, which blocks while it waits."""

    def __init__(
        self, base_url: str | None, key: str | None, retry_s: float, on_retry: Callable[[str], None]
    ) -> None:
        self._http = httpx.Client(**http_arguments(base_url, key))
        self._url = str(self._http.base_url).rstrip("/")
        self._retry_s, self._on_retry = retry_s, on_retry

    def close(self) -> None:
        """Close all connections to the server."""
        self._http.close()

    def ask(self, call: Call[T]) -> T:
        """Send a request, again if need be, and return what the server answers."""
        tries = Tries(call, self._url, self._retry_s)
        while True:
            try:
                outcome: httpx.Response | httpx.TransportError = self._http.request(**tries.arguments)
            except httpx.TransportError as error:
                outcome = error
            if (pause_s := tries.pause_s(outcome)) is None:
                return tries.result(outcome)
            self._on_retry(tries.why(outcome))
            time.sleep(pause_s)

    def events(self, id: str) -> Iterator[StreamEvent]:
        """Yield the events of a submission; a stream that breaks is resumed."""
        resumption, pauses = Resumption(id, self._url), Pauses(max(self._retry_s, RETRY_S))
        while True:
            try:
                for event in self._stream(resumption):
                    pauses.begin_anew()
                    yield event
                    if event.name == END:
                        return
                why = "the stream ended early"
            except (httpx.TransportError, UnavailableError) as error:
                why = why_no_response(error)
            if (pause_s := pauses.next_s()) is None:
                raise UnavailableError(f"no more events of {id} from {self._url}: {why}")
            self._on_retry(f"no more events of {id}: {why}")
            time.sleep(pause_s)

    def _stream(self, resumption: Resumption) -> Iterator[StreamEvent]:
        with self._http.stream(**resumption.request()) as response:
            if not is_stream(response):
                response.read()
            resumption.check(response)
            for received in response.iter_bytes():
                yield from resumption.read(received)


class AsyncConnection:
    """Connection of `AsyncClient`, with the methods of `Connection`."""

    def __init__(self, base_url: str | None, key: str | None, retry_s: float) -> None:
        self._http = httpx.AsyncClient(**http_arguments(base_url, key))
        self._url = str(self._http.base_url).rstrip("/")
        self._retry_s = retry_s

    async def close(self) -> None:
        """Close all connections to the server."""
        await self._http.aclose()

    async def ask(self, call: Call[T]) -> T:
        """Send a request, again if need be, and return what the server answers."""
        tries = Tries(call, self._url, self._retry_s)
        while True:
            try:
                outcome: httpx.Response | httpx.TransportError = await self._http.request(**tries.arguments)
            except httpx.TransportError as error:
                outcome = error
            if (pause_s := tries.pause_s(outcome)) is None:
                return tries.result(outcome)
            await asyncio.sleep(pause_s)

    async def events(self, id: str) -> AsyncIterator[StreamEvent]:
        """Yield the events of a submission; a stream that breaks is resumed."""
        resumption, pauses = Resumption(id, self._url), Pauses(max(self._retry_s, RETRY_S))
        while True:
            try:
                async for event in self._stream(resumption):
                    pauses.begin_anew()
                    yield event
                    if event.name == END:
                        return
                why = "the stream ended early"
            except (httpx.TransportError, UnavailableError) as error:
                why = why_no_response(error)
            if (pause_s := pauses.next_s()) is None:
                raise UnavailableError(f"no more events of {id} from {self._url}: {why}")
            await asyncio.sleep(pause_s)

    async def _stream(self, resumption: Resumption) -> AsyncIterator[StreamEvent]:
        async with self._http.stream(**resumption.request()) as response:
            if not is_stream(response):
                await response.aread()
            resumption.check(response)
            async for received in response.aiter_bytes():
                for event in resumption.read(received):
                    yield event
