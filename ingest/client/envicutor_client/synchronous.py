"""Synchronous client, whose methods block until the server has answered."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import connect_sse

from envicutor_client import calls
from envicutor_client.calls import Call, Polls, Request, Tries
from envicutor_client.errors import UnavailableError
from envicutor_client.events import PAUSES_S, Resumption, StreamEvent
from ingest.models import END, BatchResults, Listed, SubmissionShown, SubmissionWait, System
from topics.request.model import SubmissionRequest
from topics.submissions.state import FINAL, Answer

T = TypeVar("T")


class Client:
    """Client of one server. Requests that fail, or get no response, are tried again a few times."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        on_retry: Callable[[str], None] = calls.ignore_retry,
    ) -> None:
        """Connect to the server at `base_url` when the first request is sent.

        Args:
            base_url: the address of the server.
            key: an API key, if the server needs one; by default that of ENVICUTOR_KEY in the environment.
            on_retry: called with the reason before the pause that precedes another try.

        Raises:
            ValueError: the key contains characters that no API key has.
        """
        self._base_url, self._on_retry = base_url, on_retry
        self._http = httpx.Client(
            base_url=base_url, headers=calls.authorization(key), limits=calls.LIMITS, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections to the server."""
        self._http.close()

    def submit(self, request: Request, *, wait_s: float = 0.0, interactive: bool = False) -> Answer:
        """Submit a request, and wait up to `wait_s` (at most `LONGEST_WAIT_S`) for the submission to end.

        A request without an id gets one, so that another try never makes a second submission.

        Raises:
            RequestRefusedError: the server refused the request.
            UnavailableError: it is unknown whether the request was accepted; the message names the id.
        """
        return self._ask(calls.submit(request, wait_s, interactive=interactive))

    def submit_batch(self, requests: Sequence[Request]) -> BatchResults:
        """Submit up to 100 requests, each accepted or refused on its own.

        Raises:
            RequestRefusedError: the server refused the batch as a whole.
            UnavailableError: it is unknown which requests were accepted.
        """
        return self._ask(calls.submit_batch(requests))

    def get(self, id: str, *, wait_s: float = 0.0) -> SubmissionShown:
        """Return the submission in its present state, or when it has ended, after at most `wait_s`.

        Raises:
            RequestRefusedError: there is no submission with this id (404).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.get(id, wait_s))

    def request(self, id: str) -> SubmissionRequest:
        """Return the request of a submission, with the limits that defaults gave it.

        Raises:
            RequestRefusedError: there is no submission with this id, or it was rejected (404).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.request(id))

    def cancel(self, id: str) -> Answer:
        """Cancel a submission, and return it.

        Raises:
            RequestRefusedError: there is no submission with this id (404), or it had ended before (409).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.cancel(id))

    def output(self, id: str, case: int, name: str) -> bytes:
        """Return the content of an output file of the test case with index `case`, from 0.

        Raises:
            RequestRefusedError: there is no such file, or it was left out of the answer (404).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.output(id, case, name))

    def list(self, **filters: Any) -> Iterator[Listed]:
        """Yield submissions, newest first; `filters` are the parameters of `GET /submissions`.

        Raises:
            RequestRefusedError: a filter is unknown or invalid (422).
            UnavailableError: the server did not answer.
        """
        while True:
            page = self._ask(calls.page(filters))
            yield from page.submissions
            if page.next is None:
                return
            filters["cursor"] = page.next

    def system(self) -> System:
        """Return the state of the system, as the server knows it.

        Raises:
            RequestRefusedError: the API key has no scope for it (403).
            UnavailableError: the server did not answer, or has not read its tables yet.
        """
        return self._ask(calls.system())

    def wait(
        self, id: str, timeout_s: float, on_waiting: Callable[[SubmissionWait], None] | None = None
    ) -> Answer:
        """Wait until a submission has ended, and return it; `on_waiting` learns what it waits for.

        `on_waiting` is called every two seconds, as long as no program runs.

        Raises:
            TimeoutError: the submission has not ended after `timeout_s`; it is not cancelled.
            RequestRefusedError: there is no submission with this id (404).
            UnavailableError: the server did not answer.
        """
        polls = Polls(timeout_s, on_waiting)
        while True:
            answer = self.get(id, wait_s=polls.wait_s())
            if answer.status in FINAL:
                return answer
            time.sleep(polls.pause_s(answer))

    def events(self, id: str) -> Iterator[StreamEvent]:
        """Yield past and new events of a submission, and its output; the last is `end`, with the answer.

        A broken stream is resumed after its last event.

        Raises:
            RequestRefusedError: there is no submission with this id (404).
            UnavailableError: the server did not answer several times in a row.
        """
        resumption, pauses_s = Resumption(calls.path_of(id, "events")), iter(PAUSES_S)
        while True:
            try:
                for event in self._stream(id, resumption):
                    pauses_s = iter(PAUSES_S)
                    yield event
                    if event.name == END:
                        return
                why = "the stream ended early"
            except (httpx.TransportError, UnavailableError) as error:
                why = calls.reason(error)
            if (pause_s := next(pauses_s, None)) is None:
                raise UnavailableError(f"no more events of {id} from {self._base_url}: {why}")
            self._on_retry(f"no more events of {id}: {why}")
            time.sleep(pause_s)

    def _stream(self, id: str, resumption: Resumption) -> Iterator[StreamEvent]:
        with connect_sse(self._http, **resumption.request()) as source:
            if not source.response.is_success:
                source.response.read()
                raise calls.failure(id, source.response)
            for received in source.iter_sse():
                if (event := resumption.read(received)) is not None:
                    yield event

    def _ask(self, call: Call[T]) -> T:
        tries = Tries(call, self._base_url)
        while True:
            try:
                outcome: httpx.Response | httpx.TransportError = self._http.request(**tries.arguments)
            except httpx.TransportError as error:
                outcome = error
            if (pause_s := tries.pause_s(outcome)) is None:
                return tries.result(outcome)
            self._on_retry(tries.why(outcome))
            time.sleep(pause_s)
