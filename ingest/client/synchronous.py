"""The client that waits."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import connect_sse

from ingest.client import calls
from ingest.client.calls import FIRST_POLL_S, LONGEST_POLL_S, Call, Request, Tries
from ingest.client.errors import UnavailableError
from ingest.client.events import END, PAUSES_S, Event, Resumption
from ingest.models import Batch, Listed, System
from topics.request.model import SubmissionRequest
from topics.submissions.state import FINAL, Answer

T = TypeVar("T")


class Client:
    """One server. What fails on the way there or back is tried again, a few times."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        on_retry: Callable[[str], None] = calls.silent,
    ) -> None:
        """`key` is an API key, where the server needs one; else ENVICUTOR_KEY in the environment.

        `on_retry` is told why something is tried again, before the pause.

        Raises:
            ValueError: no key looks like that.
        """
        self._base_url, self._on_retry = base_url, on_retry
        self._http = httpx.Client(base_url=base_url, headers=calls.authorization(key), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def submit(self, request: Request, *, wait_s: float = 0.0) -> Answer:
        """Submit, and wait up to `wait_s` (at most `LONGEST_WAIT_S`) for it to be finished.

        An id is made where the request has none, so that trying again never makes a second submission.

        Raises:
            RefusedError: the request cannot be accepted.
            UnavailableError: whether it was accepted is unknown; the message names the id.
        """
        return self._ask(calls.submit(request, wait_s))

    def submit_batch(self, requests: Sequence[Request]) -> Batch:
        """Submit up to 100, each accepted or refused on its own.

        Raises:
            RefusedError, UnavailableError: see `submit`; of all of them.
        """
        return self._ask(calls.submit_batch(requests))

    def get(self, id: str) -> Answer:
        """The submission as it is now.

        Raises:
            RefusedError: there is none with this id (status 404).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.get(id))

    def request(self, id: str) -> SubmissionRequest:
        """What was asked for, limits after defaults included.

        Raises:
            RefusedError: there is no submission with this id, or it was rejected (404).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.request(id))

    def cancel(self, id: str) -> Answer:
        """Stop it.

        Raises:
            RefusedError: there is none (404), or it was finished before (409).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.cancel(id))

    def output(self, id: str, case: int, name: str) -> bytes:
        """An output file of a test case, counted from 0.

        Raises:
            RefusedError: there is none, or it was left out (404).
            UnavailableError: the server did not answer.
        """
        return self._ask(calls.output(id, case, name))

    def list(self, **filters: Any) -> Iterator[Listed]:
        """Submissions, newest first; `filters` are the parameters of `GET /submissions`.

        Raises:
            RefusedError: a filter is none (422).
            UnavailableError: the server did not answer.
        """
        while True:
            page = self._ask(calls.page(filters))
            yield from page.submissions
            if page.next is None:
                return
            filters["cursor"] = page.next

    def system(self) -> System:
        """The system as the server sees it now.

        Raises:
            UnavailableError: the server did not answer, or cannot know yet.
        """
        return self._ask(calls.system())

    def wait(self, id: str, timeout_s: float) -> Answer:
        """The submission once nothing will change any more.

        Raises:
            TimeoutError: it is not finished after `timeout_s`.
            RefusedError, UnavailableError: see `get`.
        """
        deadline, pause_s = time.monotonic() + timeout_s, FIRST_POLL_S
        while (answer := self.get(id)).status not in FINAL:
            if time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"submission {id} is not over, but {answer.status}; it goes on")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_POLL_S)
        return answer

    def events(self, id: str) -> Iterator[Event]:
        """What happened and happens to it, output included; the last one is `end`, with the answer.

        A stream that breaks is taken up where it broke.

        Raises:
            RefusedError: there is no submission with this id (404).
            UnavailableError: the server did not answer, several times in a row.
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

    def _stream(self, id: str, resumption: Resumption) -> Iterator[Event]:
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
