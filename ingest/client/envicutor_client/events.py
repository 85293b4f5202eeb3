"""Server-sent events as the clients read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from envicutor_client.calls import CONNECT_TIMEOUT_S, path_of
from envicutor_client.failures import failure, not_envicutor
from envicutor_client.models import Answer, EventPayload, OutputChunk
from envicutor_client.sse import EventDecoder, ServerSentEvent

END = "end"
"""Name of the last event of a stream, whose data is the answer."""
RETRY_S = 10.0
"""Shortest time for which a broken stream is tried to be resumed, since there was a server before."""
_TIMEOUT = httpx.Timeout(CONNECT_TIMEOUT_S, read=60.0)
"""Timeouts of a stream.

The server sends a comment after 15 s without events; the read timeout is four times as long.
"""
_MODELS: dict[str, type[OutputChunk | Answer]] = {"output": OutputChunk, END: Answer}


@dataclass(frozen=True)
class StreamEvent:
    """Event of a submission's stream: a fact of the log, what it waits for, a piece of output, or the end."""

    name: str
    """Name of the fact, such as `started`, or `waiting`, `output` or `end`."""
    data: EventPayload | OutputChunk | Answer
    """Payload of a fact or of `waiting`, piece of output, or final submission, according to `name`."""


class Resumption:
    """Position in one submission's stream, kept over all its connections."""

    def __init__(self, id: str, base_url: str) -> None:
        self._id, self._base_url = id, base_url
        self._last_id = ""
        self._decoder = EventDecoder()

    def request(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.stream` that continue the stream after the last event."""
        self._decoder = EventDecoder(self._last_id)
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        return {"method": "GET", "url": path_of(self._id, "events"), "headers": headers, "timeout": _TIMEOUT}

    def check(self, response: httpx.Response) -> None:
        """Check that a response is a stream of events; the content of any other must have been read.

        Raises:
            RequestRefusedError, UnavailableError: it is none.
        """
        if not response.is_success:
            raise failure(self._id, response)
        if not is_stream(response):
            raise not_envicutor(self._base_url)

    def read(self, received: bytes) -> Iterator[StreamEvent]:
        """Yield the events that are complete with the bytes received next.

        Raises:
            pydantic.ValidationError: the data is not that of an event of this name.
        """
        for event in self._decoder.feed(received):
            self._last_id = event.id
            yield _read(event)


def is_stream(response: httpx.Response) -> bool:
    """Return whether a response is a stream of events."""
    type_ = response.headers.get("Content-Type", "")
    return response.is_success and type_.startswith("text/event-stream")


def _read(event: ServerSentEvent) -> StreamEvent:
    model = _MODELS.get(event.name, EventPayload)
    return StreamEvent(event.name, model.model_validate_json(event.data))
