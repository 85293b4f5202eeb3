"""Several requests in one body, each accepted or refused on its own."""

import asyncio
from typing import Any

from pydantic_core import from_json, to_json

from ingest.access import Caller
from ingest.models import Batch, BatchItem
from ingest.problems import ProblemError
from ingest.submissions import Submissions
from topics.codec import Headers
from topics.submissions.state import Answer

MOST = 100
"""Requests of a batch."""


async def accept_all(
    submissions: Submissions, body: bytes, caller: Caller, max_bytes: int, beside: Headers
) -> Batch:
    """Accept what can be.

    Raises:
        ProblemError: the body as a whole is no batch (400, 413, 422).
    """
    requests = _requests(body, max_bytes)
    return Batch(results=await asyncio.gather(*(_accept(submissions, r, caller, beside) for r in requests)))


async def _accept(submissions: Submissions, request: bytes, caller: Caller, beside: Headers) -> BatchItem:
    try:
        accepted = await submissions.accept(request, caller, wait_for_end=False, beside=beside)
    except ProblemError as error:
        return BatchItem(status=error.status, problem=error.problem())
    return BatchItem(status=202, submission=Answer.model_validate_json(accepted.answer()))


def _requests(body: bytes, max_bytes: int) -> list[bytes]:
    if len(body) > max_bytes:
        raise ProblemError(413, "too-large", f"the batch is larger than {max_bytes} bytes: send several")
    try:
        requests: Any = from_json(body)
    except ValueError as error:
        raise ProblemError(400, "not-json", f"the batch is not JSON: {error}") from None
    if not isinstance(requests, list):
        raise ProblemError(422, "invalid-request", "a batch is an array of requests")
    if not 1 <= len(requests) <= MOST:
        raise ProblemError(422, "invalid-request", f"a batch has 1 to {MOST} requests, not {len(requests)}")
    return [to_json(request, inf_nan_mode="constants") for request in requests]
