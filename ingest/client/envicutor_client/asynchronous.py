"""Client for asyncio, with the methods of `Client`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import aconnect_sse

from envicutor_client import calls
from envicutor_client.calls import Call, Polls, Request, Tries
from envicutor_client.errors import UnavailableError
from envicutor_client.events import PAUSES_S, Resumption, StreamEvent
from ingest.models import END, BatchResults, Listed, SubmissionShown, SubmissionWait, System
from topics.request.model import SubmissionRequest
from topics.submissions.state import FINAL, Answer

T = TypeVar("T")


class AsyncClient:
    """Client of one server for asyncio; `Client` describes methods and errors."""

    def __init__(self, base_url: str = "http://127.0.0.1:8000", key: str | None = None) -> None:
        self._base_url = base_url
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=calls.authorization(key), limits=calls.LIMITS, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections to the server."""
        await self._http.aclose()

    async def submit(self, request: Request, *, wait_s: float = 0.0, interactive: bool = False) -> Answer:
        """Submit a request, and wait up to `wait_s` (at most `LONGEST_WAIT_S`) for the submission to end."""
        return await self._ask(calls.submit(request, wait_s, interactive=interactive))

    async def submit_batch(self, requests: Sequence[Request]) -> BatchResults:
        """Submit up to 100 requests, each accepted or refused on its own."""
        return await self._ask(calls.submit_batch(requests))

    async def get(self, id: str, *, wait_s: float = 0.0) -> SubmissionShown:
        """Return the submission in its present state, or when it has ended, after at most `wait_s`."""
        return await self._ask(calls.get(id, wait_s))

    async def request(self, id: str) -> SubmissionRequest:
        """Return the request of a submission, with the limits that defaults gave it."""
        return await self._ask(calls.request(id))

    async def cancel(self, id: str) -> Answer:
        """Cancel a submission, and return it."""
        return await self._ask(calls.cancel(id))

    async def output(self, id: str, case: int, name: str) -> bytes:
        """Return the content of an output file of the test case with index `case`, from 0."""
        return await self._ask(calls.output(id, case, name))

    async def list(self, **filters: Any) -> AsyncIterator[Listed]:
        """Yield submissions, newest first; `filters` are the parameters of `GET /submissions`."""
        while True:
            page = await self._ask(calls.page(filters))
            for listed in page.submissions:
                yield listed
            if page.next is None:
                return
            filters["cursor"] = page.next

    async def system(self) -> System:
        """Return the state of the system, as the server knows it."""
        return await self._ask(calls.system())

    async def wait(
        self, id: str, timeout_s: float, on_waiting: Callable[[SubmissionWait], None] | None = None
    ) -> Answer:
        """Wait until a submission has ended, and return it; `on_waiting` learns what it waits for."""
        polls = Polls(timeout_s, on_waiting)
        while True:
            answer = await self.get(id, wait_s=polls.wait_s())
            if answer.status in FINAL:
                return answer
            await asyncio.sleep(polls.pause_s(answer))

    async def events(self, id: str) -> AsyncIterator[StreamEvent]:
        """Yield past and new events of a submission, and its output; the last is `end`, with the answer."""
        resumption, pauses_s = Resumption(calls.path_of(id, "events")), iter(PAUSES_S)
        while True:
            try:
                async for event in self._stream(id, resumption):
                    pauses_s = iter(PAUSES_S)
                    yield event
                    if event.name == END:
                        return
                why = "the stream ended early"
            except (httpx.TransportError, UnavailableError) as error:
                why = calls.reason(error)
            if (pause_s := next(pauses_s, None)) is None:
                raise UnavailableError(f"no more events of {id} from {self._base_url}: {why}")
            await asyncio.sleep(pause_s)

    async def _stream(self, id: str, resumption: Resumption) -> AsyncIterator[StreamEvent]:
        async with aconnect_sse(self._http, **resumption.request()) as source:
            if not source.response.is_success:
                await source.response.aread()
                raise calls.failure(id, source.response)
            async for received in source.aiter_sse():
                if (event := resumption.read(received)) is not None:
                    yield event

    async def _ask(self, call: Call[T]) -> T:
        tries = Tries(call, self._base_url)
        while True:
            try:
                outcome: httpx.Response | httpx.TransportError = await self._http.request(**tries.arguments)
            except httpx.TransportError as error:
                outcome = error
            if (pause_s := tries.pause_s(outcome)) is None:
                return tries.result(outcome)
            await asyncio.sleep(pause_s)
