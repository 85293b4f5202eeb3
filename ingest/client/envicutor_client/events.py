"""Server-sent events as the clients read them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import ServerSentEvent

from envicutor_client.calls import CONNECT_TIMEOUT_S
from ingest.models import END, EventPayload
from topics.submissions.output import OutputChunk
from topics.submissions.state import Answer

TIMEOUT = httpx.Timeout(CONNECT_TIMEOUT_S, read=60.0)
"""Timeouts of a stream.

The server sends a comment after 15 s without events; the read timeout is four times as long.
"""
PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses before a broken stream is resumed; the client gives up after as many failures in a row."""
_READ: dict[str, Callable[[str], OutputChunk | Answer]] = {"output": OutputChunk.read, END: Answer.read}


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Event of a submission's stream: a fact of the log, what it waits for, a piece of output, or the end."""

    name: str
    """Name of the fact, such as `started`, or `waiting`, `output` or `end`."""
    data: EventPayload | OutputChunk | Answer
    """Payload of a fact or of `waiting`, piece of output, or final submission, according to `name`."""


class Resumption:
    """Position in one submission's stream, kept over all its connections."""

    def __init__(self, path: str) -> None:
        self._path, self._last_id = path, ""

    def request(self) -> dict[str, Any]:
        """Return the arguments of `connect_sse` that continue the stream after the last event."""
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        return {"method": "GET", "url": self._path, "headers": headers, "timeout": TIMEOUT}

    def read(self, received: ServerSentEvent) -> StreamEvent | None:
        """Return the event that was received, or None for a comment or a reconnection time.

        Raises:
            pydantic.ValidationError: the data is not that of an event of this name.
        """
        if not received.data:
            return None
        self._last_id = received.id
        read = _READ.get(received.event, EventPayload.model_validate_json)
        return StreamEvent(received.event, read(received.data))
