"""Reading bodies of requests, within bounds."""

import asyncio

from fastapi import Request

from ingest.problems import ProblemError

BODY_S = 60.0
"""How long a client may take to send one."""


async def json_body(request: Request, max_bytes: int) -> bytes:
    """The body, which must call itself JSON; read no further than one byte past what is allowed.

    A page elsewhere can make a browser send any other body here without asking us first (CSRF).

    Raises:
        ProblemError: 415 for another media type, or none; 408 where it does not come in time.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        given = f"not {media_type!r}" if media_type else "and say so with Content-Type"
        raise ProblemError(415, "unsupported-media-type", f"the body must be application/json, {given}")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    break  # what is said about it does not need the rest
    except TimeoutError:
        detail = f"the body did not come within {BODY_S:g} s: send it again"
        raise ProblemError(408, "too-slow", detail, headers={"Connection": "close"}) from None
    return bytes(body)
