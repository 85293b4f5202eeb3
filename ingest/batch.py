"""Batches: several requests in one body, each accepted or refused on its own."""

import asyncio
from typing import Any

from pydantic_core import to_json

from ingest.access import Caller
from ingest.models import BatchItem, BatchResults
from ingest.problems import ProblemError, invalid
from ingest.submissions import Submissions
from topics.kafka.codec import Headers
from topics.request.errors import InvalidRequestError
from topics.request.parsing import parse_json
from topics.submissions.state import Answer

MAX_REQUESTS = 100
"""Largest number of requests in a batch."""
BOUNDS_FACTOR = 4
"""Factor between the bounds of one request and of a batch: bytes, values, arrays and objects."""


async def accept_all(
    submissions: Submissions, body: bytes, caller: Caller, max_bytes: int, extra_headers: Headers
) -> BatchResults:
    """Accept each valid request of a batch; return the results in the order of the requests.

    Raises:
        ProblemError: 400, 413 or 422 if the body as a whole is no batch.
    """
    requests = _requests(body, max_bytes)
    accepted = []
    async with asyncio.TaskGroup() as group:
        for request in requests:
            accepted.append(group.create_task(_accept(submissions, request, caller, extra_headers)))
            await asyncio.sleep(0)  # let the event loop serve other connections between two requests
    return BatchResults(results=[task.result() for task in accepted])


async def _accept(
    submissions: Submissions, request: bytes, caller: Caller, extra_headers: Headers
) -> BatchItem:
    try:
        accepted = await submissions.accept(request, caller, extra_headers=extra_headers)
    except ProblemError as error:
        return BatchItem(status=error.status, problem=error.problem())
    return BatchItem(status=202, submission=Answer.model_validate_json(accepted.answer()))


def _requests(body: bytes, max_bytes: int) -> list[bytes]:
    if len(body) > max_bytes:
        raise ProblemError(413, "too-large", f"the batch is larger than {max_bytes} bytes: send several")
    try:
        requests: Any = parse_json(body, BOUNDS_FACTOR)
    except InvalidRequestError as error:
        raise invalid(error) from None
    if not isinstance(requests, list):
        raise ProblemError(422, "invalid-request", "a batch is an array of requests")
    if not 1 <= len(requests) <= MAX_REQUESTS:
        raise ProblemError(
            422, "invalid-request", f"a batch has 1 to {MAX_REQUESTS} requests, not {len(requests)}"
        )
    return [to_json(request, inf_nan_mode="constants") for request in requests]
