"""Trace context of an HTTP request, copied to the event that the request becomes.

https://www.w3.org/TR/trace-context/
"""

import re

from starlette.datastructures import Headers as HttpHeaders

from topics.kafka.codec import Headers

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
TRACESTATE_CHARACTERS = 512
"""Longest `tracestate` that is copied; the standard asks for at least this length."""


def trace_context(headers: HttpHeaders) -> Headers:
    """Return `traceparent` and `tracestate` as headers of a record, without malformed and too long ones."""
    parent, state = headers.get("traceparent", ""), ",".join(headers.getlist("tracestate"))
    if not _TRACEPARENT.fullmatch(parent):
        return []
    context: Headers = [("traceparent", parent.encode())]
    if state.isascii() and 0 < len(state) <= TRACESTATE_CHARACTERS:
        context.append(("tracestate", state.encode()))
    return context
