"""Submissions by their ids in one response, which is sent piece by piece: together they may be large."""

from collections.abc import AsyncIterator

from fastapi import Response
from fastapi.responses import StreamingResponse

from ingest.access import Caller
from ingest.fields import select
from ingest.listing import Query
from ingest.problems import ProblemError
from ingest.submissions import Submissions
from ingest.wait_reasons import WaitReasons
from topics.request.errors import FieldError
from topics.submissions.state import Submission


async def list_or_submissions(
    query: Query, submissions: Submissions, waits: WaitReasons, caller: Caller
) -> Response:
    """Return a SubmissionsById if the query has `id`, else a SubmissionPage.

    Raises:
        ProblemError: 422 for an invalid parameter or a field that does not exist, 503 if this node is behind.
    """
    _check_alone(query)
    if not query.id:
        page = await submissions.list(query, caller)
        return Response(page.model_dump_json(), media_type="application/json")
    fields = select(query.fields)
    found = await submissions.get_many(query.id, caller)
    return StreamingResponse(_pieces(found, waits, fields), media_type="application/json")


def _check_alone(query: Query) -> None:
    """Accept a query with `id` that has no filter, or one without `id` that has no `fields`.

    Raises:
        ProblemError: 422, naming the parameters that do not fit.
    """
    if query.id:
        others = query.model_fields_set - {"id", "fields"}
        why = "cannot be combined with `id`, which names the submissions already"
    else:
        others = query.model_fields_set & {"fields"}
        why = "needs `id`: a list has summaries only"
    if others:
        errors = [FieldError(field=f"query.{name}", message=why) for name in sorted(others)]
        raise ProblemError(422, "invalid-parameters", "; ".join(map(str, errors)), errors=errors)


async def _pieces(
    submissions: AsyncIterator[Submission | None], waits: WaitReasons, fields: set[str]
) -> AsyncIterator[bytes]:
    before = b'{"submissions":['
    async for submission in submissions:
        shown = waits.shown(submission).model_dump_json(include=fields).encode() if submission else b"null"
        yield before + shown
        before = b","
    yield b'],"next":null}'
