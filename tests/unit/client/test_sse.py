"""Event streams, however the network cuts them."""

import pytest

from envicutor_client.sse import EventDecoder

TEXT = "hello \u2028\x85\x0b"  # `str.splitlines` splits at all of these
STREAM = (
    f": comment\n\nid: 7\nevent: output\ndata: {TEXT}\n\n"
    "event:waiting\r\ndata:a\r\ndata: b\r\n\r\nevent: x\n\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_each_event_comes_once(size: int) -> None:
    decoder, raw = EventDecoder(), STREAM.encode()
    parts = [raw[first : first + size] for first in range(0, len(raw), size)]
    assert [event for part in parts for event in decoder.feed(part)] == [
        ("output", TEXT, "7"),
        ("waiting", "a\nb", "7"),
    ]


def test_what_the_end_cuts_off_is_no_event() -> None:
    assert list(EventDecoder("3").feed(b"data: x\n")) == []
    assert list(EventDecoder("3").feed(b"data: x\n\n")) == [("", "x", "3")]
