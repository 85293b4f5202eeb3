"""Which trace context goes on to the log."""

import pytest
from starlette.datastructures import Headers

from ingest.tracing import trace_context

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def context(*raw: tuple[str, str]) -> list[tuple[str, str | bytes | None]]:
    return trace_context(Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in raw]))


def test_both_headers_go_on() -> None:
    both = context(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2"), ("other", "x"))
    assert both == [("traceparent", PARENT.encode()), ("tracestate", b"a=1,b=2")]


@pytest.mark.parametrize("parent", ["", "x", PARENT.upper(), PARENT + "-x", PARENT + "\n"])
def test_without_a_readable_parent_nothing_goes_on(parent: str) -> None:
    assert context(("traceparent", parent), ("tracestate", "a=1")) == []


@pytest.mark.parametrize("state", ["", "a" * 513, "\xff"])
def test_a_state_that_is_too_long_or_not_text_is_left_out(state: str) -> None:
    assert context(("traceparent", PARENT), ("tracestate", state)) == [("traceparent", PARENT.encode())]
