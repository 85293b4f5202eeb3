"""Client for asyncio, with the methods of `Client`."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from envicutor_client import calls, languages
from envicutor_client.calls import Request
from envicutor_client.connections import AsyncConnection
from envicutor_client.events import StreamEvent
from envicutor_client.live import OutputCollector, PrintedOutput
from envicutor_client.models import (
    FINAL,
    Answer,
    BatchResults,
    Language,
    Listed,
    SubmissionRequest,
    SubmissionShown,
    SubmissionWait,
    System,
)
from envicutor_client.polls import Polls
from envicutor_client.programs import ProgramOptions, program
from envicutor_client.results import RunResult

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncClient:
    """Client of one server for asyncio; `Client` describes methods and errors."""

    def __init__(self, base_url: str | None = None, key: str | None = None, *, retry_s: float = 30.0) -> None:
        self._connection = AsyncConnection(base_url, key, retry_s)
        self._languages: Sequence[Language] | None = None

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections to the server."""
        await self._connection.close()

    # -- programs ----------------------------------------------------------------------------------------

    async def run(
        self,
        code: str | bytes,
        *,
        language: str | None = "python",
        timeout_s: float = 300.0,
        **options: "Unpack[ProgramOptions]",
    ) -> RunResult:
        """Run a program, and return what it printed, how it ended, and its output files."""
        request = program(code, await self._language(language), options)
        return await self.run_request(request, timeout_s=timeout_s)

    async def map(
        self,
        code: str | bytes,
        inputs: Iterable[str | bytes],
        *,
        language: str | None = "python",
        concurrency: int = 16,
        timeout_s: float = 300.0,
        **options: "Unpack[ProgramOptions]",
    ) -> AsyncIterator[RunResult]:
        """Run a program with each of `inputs`, and yield the results in their order."""
        chosen = await self._language(language)
        requests = (program(code, chosen, {**options, "input": input}) for input in inputs)
        async for result in self.run_many(requests, concurrency=concurrency, timeout_s=timeout_s):
            yield result

    async def run_request(self, request: Request, *, timeout_s: float = 300.0) -> RunResult:
        """Submit any request, and return its result when it has ended."""
        deadline = time.monotonic() + timeout_s
        answer = await self.submit(request, wait_s=timeout_s)
        if answer.status not in FINAL:
            answer = await self.wait(answer.id, deadline - time.monotonic())
        return RunResult(answer)

    async def run_many(
        self, requests: Iterable[Request], *, concurrency: int = 16, timeout_s: float = 300.0
    ) -> AsyncIterator[RunResult]:
        """Submit requests, up to `concurrency` at a time, and yield their results in order."""
        running: deque[asyncio.Task[RunResult]] = deque()
        try:
            for request in requests:
                if len(running) == concurrency:
                    yield await running.popleft()
                running.append(asyncio.create_task(self.run_request(request, timeout_s=timeout_s)))
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()

    async def stream(self, id: str) -> AsyncIterator[PrintedOutput]:
        """Yield what the program of a submission prints, while it runs."""
        collector = OutputCollector()
        async for event in self.events(id):
            for printed in collector.take(event):
                yield printed

    async def languages(self) -> Sequence[Language]:
        """Return the languages that the server has presets for."""
        self._languages = await self._connection.ask(calls.languages())
        return self._languages

    async def _language(self, name: str | None) -> Language | None:
        if name is None:
            return None
        return languages.find(self._languages or await self.languages(), name)

    # -- submissions -------------------------------------------------------------------------------------

    async def submit(self, request: Request, *, wait_s: float = 0.0, interactive: bool = False) -> Answer:
        """Submit a request, and wait up to `wait_s` (at most `LONGEST_WAIT_S`) for the submission to end."""
        return await self._connection.ask(calls.submit(request, wait_s, interactive=interactive))

    async def submit_batch(self, requests: Sequence[Request]) -> BatchResults:
        """Submit up to 100 requests, each accepted or refused on its own."""
        return await self._connection.ask(calls.submit_batch(requests))

    async def get(self, id: str, *, wait_s: float = 0.0) -> SubmissionShown:
        """Return the submission in its present state, or when it has ended, after at most `wait_s`."""
        return await self._connection.ask(calls.get(id, wait_s))

    async def get_many(self, ids: Sequence[str]) -> Sequence[SubmissionShown | None]:
        """Return the submissions with these ids, in their order; None for an id that no submission has."""
        found: Sequence[SubmissionShown | None] = []
        for first in range(0, len(ids), calls.BATCH):
            part = ids[first : first + calls.BATCH]
            found = [*found, *await self._connection.ask(calls.get_many(part))]
        return found

    async def request(self, id: str) -> SubmissionRequest:
        """Return the request of a submission, with the limits that defaults gave it."""
        return await self._connection.ask(calls.request(id))

    async def cancel(self, id: str) -> Answer:
        """Cancel a submission, and return it."""
        return await self._connection.ask(calls.cancel(id))

    async def output(self, id: str, case: int, name: str) -> bytes:
        """Return the content of an output file of the test case with index `case`, from 0."""
        return await self._connection.ask(calls.output(id, case, name))

    async def list(self, **filters: Any) -> AsyncIterator[Listed]:
        """Yield submissions, newest first; `filters` are the parameters of `GET /submissions`."""
        while True:
            page = await self._connection.ask(calls.page(filters))
            for listed in page.submissions:
                yield listed
            if page.next is None:
                return
            filters["cursor"] = page.next

    async def system(self) -> System:
        """Return the state of the system, as the server knows it."""
        return await self._connection.ask(calls.system())

    async def wait(
        self, id: str, timeout_s: float = 300.0, on_waiting: Callable[[SubmissionWait], None] | None = None
    ) -> Answer:
        """Wait until a submission has ended, and return it.

        `on_waiting` is called every two seconds with what the submission waits for, as `Client.wait` does.
        """
        polls = Polls(timeout_s, on_waiting)
        while True:
            answer = await self.get(id, wait_s=polls.wait_s())
            if answer.status in FINAL:
                return answer
            await asyncio.sleep(polls.pause_s(answer))

    def events(self, id: str) -> AsyncIterator[StreamEvent]:
        """Yield past and new events of a submission, and its output; the last is `end`, with the answer."""
        return self._connection.events(id)
