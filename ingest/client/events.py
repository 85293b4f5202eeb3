"""Server-sent events as the clients read them."""

from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import ServerSentEvent
from pydantic import BaseModel

from ingest.client.calls import CONNECT_TIMEOUT_S
from ingest.models import Happened
from topics.submissions.output import OutputChunk
from topics.submissions.state import Answer

TIMEOUT = httpx.Timeout(CONNECT_TIMEOUT_S, read=60.0)
"""The server sends a comment if a stream has been silent for 15 s; this is four times as long."""
PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses before a broken stream is resumed; the client gives up after as many failures in a row."""
END = "end"
_MODELS: dict[str, type[BaseModel]] = {"output": OutputChunk, END: Answer}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a submission."""

    name: str
    """Of a fact, such as `started`; or `output`, or `end`."""
    data: Happened | OutputChunk | Answer
    """Of a fact, of `output`, of `end`."""


class Resumption:
    """Position in one submission's stream, kept over all its connections."""

    def __init__(self, path: str) -> None:
        self._path, self._last_id = path, ""

    def request(self) -> dict[str, Any]:
        """Return the arguments of `connect_sse` that continue the stream after the last event."""
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        return {"method": "GET", "url": self._path, "headers": headers, "timeout": TIMEOUT}

    def read(self, received: ServerSentEvent) -> Event | None:
        """Return the event that was received, or None for a comment or a reconnection time.

        Raises:
            pydantic.ValidationError: the data is not that of an event of this name.
        """
        if not received.data:
            return None
        self._last_id = received.id
        model: type[BaseModel] = _MODELS.get(received.event, Happened)
        data = model.model_validate_json(received.data)
        assert isinstance(data, Happened | OutputChunk | Answer)
        return Event(received.event, data)
