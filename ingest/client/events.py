"""Server-sent events as they are read: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from dataclasses import dataclass

import httpx
from pydantic import BaseModel

from ingest.client.calls import CONNECT_TIMEOUT_S
from ingest.models import Happened
from topics.submissions.output import OutputChunk
from topics.submissions.state import Answer

TIMEOUT = httpx.Timeout(CONNECT_TIMEOUT_S, read=60.0)
"""Four times what a server lets pass without saying anything."""
PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Between failures in a row, before a stream that broke is taken up again; then it is given up."""
END = "end"
_MODELS: dict[str, type[BaseModel]] = {"output": OutputChunk, END: Answer}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a submission."""

    name: str
    """Of a fact, such as `started`; or `output`, or `end`."""
    data: Happened | OutputChunk | Answer
    """Of a fact, of `output`, of `end`."""


class Reader:
    """Makes events of lines, and knows where to go on."""

    def __init__(self) -> None:
        self._last_id: str | None = None
        self._fields: dict[str, str] = {}

    @property
    def headers(self) -> dict[str, str]:
        """To ask with."""
        last = {"Last-Event-ID": self._last_id} if self._last_id else {}
        return {"Accept": "text/event-stream"} | last

    def broke(self) -> None:
        """The stream ended; what is incomplete will come again."""
        self._fields = {}

    def feed(self, line: str) -> Event | None:
        """The event that ends with this line."""
        if line:
            name, _, value = line.partition(": ")
            self._fields[name] = value
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        self._last_id = fields["id"]
        model: type[BaseModel] = _MODELS.get(fields["event"], Happened)
        data = model.model_validate_json(fields["data"])
        assert isinstance(data, Happened | OutputChunk | Answer)
        return Event(fields["event"], data)
