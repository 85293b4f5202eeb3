"""Decoder of server-sent events, whose lines end with `\\n` or `\\r\\n`."""

from collections.abc import Iterator
from typing import NamedTuple


class ServerSentEvent(NamedTuple):
    """An event as the server sent it."""

    name: str
    data: str
    id: str
    """Last id that the server sent, with this event or before it."""


class EventDecoder:
    """Decoder of one connection's bytes.

    `str.splitlines` and `httpx.Response.iter_lines` would also split at characters that data may contain.
    """

    def __init__(self, last_id: str = "") -> None:
        self._id = last_id
        self._name, self._data = "", list[str]()
        self._unfinished = list[bytes]()

    def feed(self, received: bytes) -> Iterator[ServerSentEvent]:
        """Yield the events that are complete with the bytes received next."""
        first, *others = received.split(b"\n")
        self._unfinished.append(first)
        for following in others:
            line = b"".join(self._unfinished).removesuffix(b"\r").decode()
            self._unfinished = [following]
            yield from self._line(line)

    def _line(self, line: str) -> Iterator[ServerSentEvent]:
        if not line:
            if self._data:
                yield ServerSentEvent(self._name, "\n".join(self._data), self._id)
            self._name, self._data = "", []
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._id = value
