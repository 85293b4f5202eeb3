"""Streams of server-sent events: the facts and the live output of one submission, as they are published.

consumes  `submissions.events` (as the projection), `submissions.output` (as a journal), `dependencies.steps`

An open stream holds only its position in both topics. New records wake the stream, which reads them from the
local tables. A client may therefore connect to any node at any time, and may read slowly.

https://html.spec.whatwg.org/multipage/server-sent-events.html

`fastapi.sse` is not used: it runs two tasks and two queues per stream. With 10,000 streams each takes
97 KiB of memory instead of 68, and opening them takes at least 1.4 times the CPU time.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple, Self

from ingest.access import Caller
from ingest.models import END, EventPayload, SubmissionWait
from ingest.problems import ProblemError
from ingest.projection import Projection
from ingest.timeline import Timeline
from ingest.wait_reasons import WaitReasons
from topics.dependencies.steps import BuildStep
from topics.submissions.state import Status, Submission
from topics.times import now
from topics.views.journal import Journal

KEEP_ALIVE_S = 15.0
"""Longest time without an event or a comment, since proxies close silent connections."""
_WAITING_S = 2.0
"""Time without events after which `waiting` or a comment is sent, until the program runs. A new step of the
build of its environment is sent at once."""
RECONNECT_MS = 1000
"""Pause before clients reconnect, sent as `retry`."""
POSITION = rf"^([0-9]{{1,18}}-[0-9]{{1,18}}|{END})$"
"""Pattern of `Last-Event-ID`: two offsets, or `END`."""


class Position(NamedTuple):
    """Offsets of the next records to send, as in `Last-Event-ID`; they are the same on every node."""

    events: int = 0
    output: int = 0

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Return the position in `text`, which matches `POSITION` and is not `END`; None is the beginning."""
        return cls(*map(int, text.split("-"))) if text else cls()

    def __str__(self) -> str:
        return f"{self.events}-{self.output}"


class EventStreams:
    """Event streams of one node, and the number that each API key has open."""

    def __init__(
        self, submissions: Projection, output: Journal, waits: WaitReasons, most_per_key: int
    ) -> None:
        """Allow `most_per_key` open streams of each API key."""
        self._waits = waits
        self._most_per_key = most_per_key
        self._open: Counter[str] = Counter()
        self._submissions, self._output = submissions, output
        self._listeners: set[asyncio.Event] = set()
        self._closing = False

    @property
    def listeners(self) -> int:
        """Number of open streams that have begun to send."""
        return len(self._listeners)

    @contextmanager
    def opened_with(self, key: str | None) -> Iterator[None]:
        """Count a stream as open for an API key while the context lasts; without a key, count nothing.

        Raises:
            ProblemError: 429 if the key has as many open streams as it may have.
        """
        if key is None:
            yield
            return
        if self._open[key] >= self._most_per_key:
            detail = (
                f"this API key has {self._most_per_key} event streams open, the limit "
                "ENVICUTOR_HTTP_STREAMS_PER_KEY: close one"
            )
            raise ProblemError(429, "too-many-streams", detail, headers={"Retry-After": "2"})
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def close(self) -> None:
        """End every stream; clients reconnect to another node, or to this one after its restart."""
        self._closing = True
        for changed in self._listeners:
            changed.set()

    async def follow(
        self, submission: Submission, position: Position, caller: Caller
    ) -> AsyncIterator[bytes]:
        """Yield the events from `position` on that `caller` is shown, as bytes of the stream.

        The stream ends after the end of the submission, when the caller is not allowed any more, and at
        `close`.
        """
        yield f"retry: {RECONNECT_MS}\n\n".encode()
        id, changed = submission.id, asyncio.Event()
        hidden = caller.concealment(submission)
        event_s = sent_s = _now_s()  # of the last event, and of the last event or comment
        timeline = Timeline(id, submission.owner, hides_errors=hidden.errors)
        step: BuildStep | None = None
        with ExitStack() as stack:
            stack.enter_context(self._waits.subscribe(submission, changed))
            del submission  # many streams would keep many large requests in memory
            self._listeners.add(changed)
            stack.callback(self._listeners.discard, changed)
            for source in (self._submissions, self._output):
                stack.enter_context(source.subscribe(id, changed))
            while not self._closing and caller.still_allowed():
                for entry in self._submissions.events(id, timeline.read_to):
                    name, payload = timeline.take(entry)
                    if entry.offset >= position.events:
                        position = position._replace(events=entry.offset + 1)
                        yield _event(name, payload.model_dump_json(), position)
                        event_s = sent_s = _now_s()
                # Only the state has the end if the topic no longer has the first events of the submission.
                is_silent = _now_s() - event_s >= KEEP_ALIVE_S
                if (timeline.final or is_silent) and (answer := self._end_data(id, caller)):
                    yield _event(END, answer, END)
                    return
                for piece in () if timeline.final else self._output.since(id, position.output):
                    position = position._replace(output=piece.offset + 1)
                    if hidden.shows(piece.value):
                        yield _event("output", piece.value.decode(), position)
                        event_s = sent_s = _now_s()
                waiting = self._waits.of_environment(timeline.state)
                if waiting and waiting.step and waiting.step != step:
                    step = waiting.step
                    yield _waiting_event(waiting)
                    event_s = sent_s = _now_s()
                # Measured from what was sent, since much that wakes the stream is not shown to its client.
                period_s = _WAITING_S if timeline.may_wait else KEEP_ALIVE_S
                if _now_s() - sent_s >= period_s:
                    waiting = self._waits.of(timeline.state)
                    step = waiting.step if waiting else None
                    yield _waiting_event(waiting) if waiting else b": still there\n\n"
                    sent_s = _now_s()
                await _within(sent_s + period_s - _now_s(), changed)
                changed.clear()

    def _end_data(self, id: str, caller: Caller) -> str | None:
        state = self._submissions.get(id)
        return caller.shown(state).answer() if state is not None and state.final else None


async def _within(timeout_s: float, changed: asyncio.Event) -> None:
    """Wait for `changed`, at most for `timeout_s`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await changed.wait()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _waiting_event(waiting: SubmissionWait) -> bytes:
    """Return the event `waiting`, which has no id since it is no record of a topic."""
    status: Status = "queued" if waiting.reason == "worker" else "started"
    payload = EventPayload(time=now(), status=status, refused=None, fact=waiting.model_dump())
    return f"event: waiting\ndata: {payload.model_dump_json()}\n\n".encode()


def _event(name: str, data: str, position: Position | str) -> bytes:
    # `fastapi.sse.format_sse_event` takes 5 to 13 times as long, since it looks for line ends; JSON has none.
    return f"id: {position}\nevent: {name}\ndata: {data}\n\n".encode()
