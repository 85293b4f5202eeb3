"""Events: what happens to one submission, as it happens, as server-sent events.

consumes  `submissions.events`, `submissions.output` (as journals), `submissions.store` (as a view)

Whoever is connected holds a place in both journals and nothing else: news only wakes them, what it is they
read from the journals. So it makes no difference which node they ask, when they come, or how slow they are.

https://html.spec.whatwg.org/multipage/server-sent-events.html

`fastapi.sse` is not used: it runs two tasks and two queues per stream. With 10,000 streams each takes
97 KiB of memory instead of 68, and opening them takes at least 1.4 times the CPU time.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Self

from ingest.problems import ProblemError
from ingest.story import Story
from topics.submissions.state import Submission, unfinished
from topics.views.journal import Journal
from topics.views.view import View

KEEP_ALIVE_S = 15.0
"""How long nothing may be said; proxies end connections that are silent for longer."""
RECONNECT_MS = 1000
"""How long clients are to wait before they come again."""
END = "end"
"""Name and id of the last event, whose data is the answer."""
POSITION = rf"^([0-9]{{1,18}}-[0-9]{{1,18}}|{END})$"


class Position(NamedTuple):
    """The next offsets to be told of, as in `Last-Event-ID`: the same on every node."""

    events: int = 0
    output: int = 0

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Of what matches `POSITION` and is not the end; the beginning, of None."""
        return cls(*map(int, text.split("-"))) if text else cls()

    def __str__(self) -> str:
        return f"{self.events}-{self.output}"


class Events:
    """What everybody is told who asks."""

    def __init__(self, history: Journal, output: Journal, view: View, most_per_key: int) -> None:
        """Allow `most_per_key` open streams of each API key."""
        self._most_per_key = most_per_key
        self._open: Counter[str] = Counter()
        self._history, self._output, self._view = history, output, view
        self._listeners: set[asyncio.Event] = set()
        self._closing = False

    @property
    def listeners(self) -> int:
        """How many are connected."""
        return len(self._listeners)

    @contextmanager
    def opened_with(self, key: str | None) -> Iterator[None]:
        """Count a stream that is open with this API key; streams without one are not counted.

        Raises:
            ProblemError: 429 if the key has as many open as it may.
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
        """End every stream; clients come again, to another node or to this one after its restart."""
        self._closing = True
        for news in self._listeners:
            news.set()

    async def follow(
        self, submission: Submission, told: Position, still_allowed: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        """What happened from `told` on, until nothing will change any more, or is not to be told."""
        yield f"retry: {RECONNECT_MS}\n\n".encode()
        id = submission.id
        story, news, waited = Story(id, submission.owner), asyncio.Event(), False
        with ExitStack() as stack:
            self._listeners.add(news)
            stack.callback(self._listeners.discard, news)
            for source in (self._history, self._output, self._view):
                stack.enter_context(source.news(id, news))
            while not self._closing and still_allowed():
                for entry in self._history.since(id, story.read_to):
                    name, happened = story.take(entry)
                    story.forget_content()
                    if entry.offset >= told.events:
                        told = told._replace(events=entry.offset + 1)
                        yield _event(name, happened.model_dump_json(), told)
                # The store alone says it where the topic does not reach back so far.
                if (story.final or waited) and (answer := self._final(id)):
                    yield _event(END, answer, END)
                    return
                for piece in () if story.final else self._output.since(id, told.output):
                    told = told._replace(output=piece.offset + 1)
                    yield _event("output", piece.value.decode(), told)
                waited = not await _within(KEEP_ALIVE_S, news)
                news.clear()
                if waited:
                    yield b": still there\n\n"

    def _final(self, id: str) -> str | None:
        raw = self._view.get(id)
        return None if raw is None or unfinished(raw) else Submission.read(raw).answer()


async def _within(timeout_s: float, news: asyncio.Event) -> bool:
    """Whether there was any."""
    try:
        async with asyncio.timeout(timeout_s):
            return await news.wait()
    except TimeoutError:
        return False


def _event(name: str, data: str, position: Position | str) -> bytes:
    # `fastapi.sse.format_sse_event` takes 5 to 13 times as long, since it looks for line ends; JSON has none.
    return f"id: {position}\nevent: {name}\ndata: {data}\n\n".encode()
