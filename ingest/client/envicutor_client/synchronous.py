"""Synchronous client, whose methods block until the server has answered."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from envicutor_client import calls, languages
from envicutor_client.background import in_thread
from envicutor_client.calls import Request
from envicutor_client.connections import Connection
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


class Client:
    """Client of one server, which may be used by several threads.

    A request that the server does not answer, or answers with 429, 502 to 504 or 507, is sent again, until
    the server has not been available for `retry_s`. Each request has an id by then, so that none runs twice.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        retry_s: float = 30.0,
        on_retry: Callable[[str], None] = calls.ignore_retry,
    ) -> None:
        """Connect to the server at `base_url` when the first request is sent.

        Args:
            base_url: the address of the server; by default that of ENVICUTOR_SERVER in the environment, else
                `http://127.0.0.1:8000`.
            key: an API key, if the server needs one; by default that of ENVICUTOR_KEY in the environment.
            retry_s: the time after which to give up if the server does not answer, such as while it restarts.
            on_retry: called with the reason before the pause that precedes another try.

        Raises:
            ValueError: the key contains characters that no API key has.
        """
        self._connection = Connection(base_url, key, retry_s, on_retry)
        self._languages: Sequence[Language] | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections to the server."""
        self._connection.close()

    # -- programs ----------------------------------------------------------------------------------------

    def run(
        self,
        code: str | bytes,
        *,
        language: str | None = "python",
        timeout_s: float = 300.0,
        **options: "Unpack[ProgramOptions]",
    ) -> RunResult:
        """Run a program, and return what it printed, how it ended, and its output files.

        Args:
            code: the text of the program.
            language: the name of a preset, see `languages`; None if `options` have the command `run`.
            timeout_s: the time to wait for the end, in seconds.
            **options: input, packages, limits and so on, see `ProgramOptions`.

        Raises:
            TimeoutError: the submission has not ended after `timeout_s`; it is not cancelled.
            RequestRefusedError: the server refused the request; `errors` name the fields.
            UnavailableError: the server did not answer.
            NoSuchLanguageError: the server has no preset of this name.
            TypeError: there is no such option, or the content of a file is of another type.
            ValueError: a local file of `files` is larger than any request may be.
            OSError: a local file of `files` cannot be read.
        """
        return self.run_request(program(code, self._language(language), options), timeout_s=timeout_s)

    def map(
        self,
        code: str | bytes,
        inputs: Iterable[str | bytes],
        *,
        language: str | None = "python",
        concurrency: int = 16,
        timeout_s: float = 300.0,
        **options: "Unpack[ProgramOptions]",
    ) -> Iterator[RunResult]:
        """Run a program with each of `inputs`, and yield the results in their order.

        Nothing is submitted until the first result is asked for.
        Arguments and errors are those of `run` and `run_many`.
        """
        chosen = self._language(language)
        requests = (program(code, chosen, {**options, "input": input}) for input in inputs)
        return self.run_many(requests, concurrency=concurrency, timeout_s=timeout_s)

    def run_request(self, request: Request, *, timeout_s: float = 300.0) -> RunResult:
        """Submit any request, and return its result when it has ended; errors are those of `run`."""
        deadline = time.monotonic() + timeout_s
        answer = self.submit(request, wait_s=timeout_s)
        if answer.status not in FINAL:
            answer = self.wait(answer.id, deadline - time.monotonic())
        return RunResult(answer)

    def run_many(
        self, requests: Iterable[Request], *, concurrency: int = 16, timeout_s: float = 300.0
    ) -> Iterator[RunResult]:
        """Submit requests, up to `concurrency` at a time, and yield their results in the order of requests.

        An error of one request, as of `run`, ends the iteration. Requests with ids can be looked up then.
        Submissions that were submitted when the iteration ends early are not cancelled.
        """
        running: deque[Future[RunResult]] = deque()
        for request in requests:
            if len(running) == concurrency:
                yield running.popleft().result()
            running.append(in_thread(partial(self.run_request, request, timeout_s=timeout_s)))
        while running:
            yield running.popleft().result()

    def stream(self, id: str) -> Iterator[PrintedOutput]:
        """Yield what the program of a submission prints, while it runs; errors are those of `events`.

        `submit` with `interactive` and then `stream` shows a program live. `get` has the result afterwards.
        """
        collector = OutputCollector()
        for event in self.events(id):
            yield from collector.take(event)

    def languages(self) -> Sequence[Language]:
        """Return the languages that the server has presets for.

        Raises:
            UnavailableError: the server did not answer.
        """
        self._languages = self._connection.ask(calls.languages())
        return self._languages

    def _language(self, name: str | None) -> Language | None:
        if name is None:
            return None
        return languages.find(self._languages or self.languages(), name)

    # -- submissions -------------------------------------------------------------------------------------

    def submit(self, request: Request, *, wait_s: float = 0.0, interactive: bool = False) -> Answer:
        """Submit a request, and wait up to `wait_s` (at most `LONGEST_WAIT_S`) for the submission to end.

        A request without an id gets one, so that another try never makes a second submission. `interactive`
        is whether you wait for the end by other means, so that it goes before others of the same owner.

        Raises:
            RequestRefusedError: the server refused the request.
            UnavailableError: it is unknown whether the request was accepted; the message names the id.
        """
        return self._connection.ask(calls.submit(request, wait_s, interactive=interactive))

    def submit_batch(self, requests: Sequence[Request]) -> BatchResults:
        """Submit up to 100 requests, each accepted or refused on its own.

        Raises:
            RequestRefusedError: the server refused the batch as a whole.
            UnavailableError: it is unknown which requests were accepted.
        """
        return self._connection.ask(calls.submit_batch(requests))

    def get(self, id: str, *, wait_s: float = 0.0) -> SubmissionShown:
        """Return the submission in its present state, or when it has ended, after at most `wait_s`.

        Raises:
            RequestRefusedError: there is no submission with this id (404).
            UnavailableError: the server did not answer.
        """
        return self._connection.ask(calls.get(id, wait_s))

    def get_many(self, ids: Sequence[str]) -> Sequence[SubmissionShown | None]:
        """Return the submissions with these ids, in their order; None for an id that no submission has.

        Raises:
            UnavailableError: the server did not answer.
        """
        parts = (ids[first : first + calls.BATCH] for first in range(0, len(ids), calls.BATCH))
        return [found for part in parts for found in self._connection.ask(calls.get_many(part))]

    def request(self, id: str) -> SubmissionRequest:
        """Return the request of a submission, with the limits that defaults gave it.

        Raises:
            RequestRefusedError: there is no submission with this id, or it was rejected (404).
            UnavailableError: the server did not answer.
        """
        return self._connection.ask(calls.request(id))

    def cancel(self, id: str) -> Answer:
        """Cancel a submission, and return it.

        Raises:
            RequestRefusedError: there is no submission with this id (404), or it had ended before (409).
            UnavailableError: the server did not answer.
        """
        return self._connection.ask(calls.cancel(id))

    def output(self, id: str, case: int, name: str) -> bytes:
        """Return the content of an output file of the test case with index `case`, from 0.

        Raises:
            RequestRefusedError: there is no such file, or it was left out of the answer (404).
            UnavailableError: the server did not answer.
        """
        return self._connection.ask(calls.output(id, case, name))

    def list(self, **filters: Any) -> Iterator[Listed]:
        """Yield submissions, newest first; `filters` are the parameters of `GET /submissions`.

        Raises:
            RequestRefusedError: a filter is unknown or invalid (422).
            UnavailableError: the server did not answer.
        """
        while True:
            page = self._connection.ask(calls.page(filters))
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
        return self._connection.ask(calls.system())

    def wait(
        self, id: str, timeout_s: float = 300.0, on_waiting: Callable[[SubmissionWait], None] | None = None
    ) -> Answer:
        """Wait until a submission has ended, and return it.

        `on_waiting` is called every two seconds, as long as no program runs, with what the submission waits
        for. Its `step` is the step that the build of the environment has reached, such as
        `fetching 12 of 55`; None while none is known. `events` has each step as it is published.

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
            UnavailableError: the server did not answer for `retry_s`, or for 10 s if that is longer.
        """
        return self._connection.events(id)
