"""Bodies of requests, which are read within bounds of size and time."""

import asyncio

from fastapi import Request

from ingest.problems import ProblemError

BODY_S = 60.0
"""Time that a client may take to send a body; the request then fails with a 408."""


async def json_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a JSON request; stop reading once it is longer than `max_bytes`.

    Pages of other origins can make a browser send bodies of some media types without a CORS preflight
    request. JSON is not among these types, so requiring it prevents CSRF.

    Raises:
        ProblemError: 415 for another media type or none, 408 if the body does not arrive in time.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        given = f"not {media_type!r}" if media_type else "and the header Content-Type must name that type"
        raise ProblemError(415, "unsupported-media-type", f"the body must be application/json, {given}")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    break  # the error message does not need the rest
    except TimeoutError:
        detail = f"the body did not arrive within {BODY_S:g} s: send it again"
        raise ProblemError(408, "too-slow", detail, headers={"Connection": "close"}) from None
    return bytes(body)
