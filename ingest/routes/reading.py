"""Routes that read submissions: lists, states, requests, output files, event streams."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractContextManager, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette import types

from ingest import by_ids, listing, output_files
from ingest.access import Access, Caller
from ingest.etag import entity_tag, unchanged
from ingest.events import POSITION, EventStreams, Position
from ingest.fields import select
from ingest.ids import NAMESPACE
from ingest.models import END
from ingest.openapi import (
    A_REQUEST,
    A_SUBMISSION,
    EVENT_STREAM,
    FILE,
    LIST_OR_SUBMISSIONS,
    NOT_MODIFIED,
    problems,
)
from ingest.problems import ProblemError
from ingest.routes.router import Id, submissions_router
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from ingest.wait_reasons import WaitReasons
from topics.request.model import SubmissionRequest
from topics.security.api_keys import Scope
from topics.submissions.state import Submission

IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="`ETag` of a previous response; if it still matches, the response is a 304.",
    ),
]


def reading_routes(
    submissions: Submissions,
    access: Access,
    events: EventStreams,
    waits: WaitReasons,
    settings: IngestSettings,
) -> APIRouter:
    """Return the routes of submissions that append nothing to the log."""
    router = submissions_router()
    wait_max_s = settings.wait_timeout_max_s
    reader = Depends(access.needs(Scope.READ, Scope.READ_ALL))

    @router.get(
        "",
        response_class=Response,
        responses={200: LIST_OR_SUBMISSIONS},
        summary="Submissions, newest first, or those of some ids",
    )
    async def list_submissions(
        caller: Annotated[Caller, reader], query: Annotated[listing.Query, Query()]
    ) -> Response:
        """List submissions, newest first, one page at a time, or return those with the given ids.

        All given filters must match. The next page is `cursor=` with the value `next` of this one. A page
        may be short and still not be the last. A caller sees its own submissions, unless its API key may
        read those of all owners. With `id=A&id=B` the response has these submissions as a whole, in this
        order, and null for each that is unknown.
        """
        return await by_ids.list_or_submissions(query, submissions, waits, caller)

    @router.get(
        "/{id}",
        responses={
            **problems(404),
            **NOT_MODIFIED,
            200: A_SUBMISSION,
        },
        summary="State of a submission",
    )
    async def get_submission(
        request: Request,
        caller: Annotated[Caller, reader],
        id: Id,
        fields: Annotated[
            str | None, Query(description="Fields to return, separated by commas; all by default.")
        ] = None,
        wait: Annotated[bool, Query(description="Respond when the submission has ended.")] = False,
        wait_timeout_s: Annotated[
            float, Query(gt=0, le=wait_max_s, description="Longest wait, in seconds.")
        ] = 30.0,
        _: IfNoneMatch = None,
    ) -> Response:
        """Return a submission in its present state, or with `wait=true` when it has ended.

        The result of each test case is in `run`, in their order: `run[].verdict` is its result as one
        word, and `run[].stdout`, `run[].cpu_time_s`, `run[].wall_time_s` and `run[].memory_bytes` are its
        output and cost. With `fields=run`, the time of the third case is `run[2].cpu_time_s`. As long as
        the program does not run, `waiting` has the reason, with an estimate if there is one.
        """
        wanted = select(fields)
        submission = await submissions.get(id, caller)
        if wait and not submission.final:
            submission = await _unless_gone(request, submissions.wait_final(id, wait_timeout_s, caller))
        headers = entity_tag(submission, "+".join(sorted(wanted)), caller)
        if same := unchanged(request, headers):
            return same
        body = waits.shown(submission).model_dump_json(include=wanted)
        return Response(body, headers=headers, media_type="application/json")

    @router.get(
        "/{id}/request",
        response_model=SubmissionRequest,
        responses={**problems(404), **NOT_MODIFIED, 200: A_REQUEST},
        summary="Request of a submission, with the limits that defaults gave it",
    )
    async def get_request(
        request: Request, caller: Annotated[Caller, reader], id: Id, _: IfNoneMatch = None
    ) -> Response:
        """Return the request of a submission as it is on the log.

        Limits that the request did not set have the values that were in force; commands of a `language`
        and contents of files taken `from` earlier submissions are filled in. It can be submitted again as
        it is, but for `from`.
        """
        submission = await submissions.get(id, caller)
        if submission.request is None:
            detail = f"submission {id!r} was rejected: there is no request that could be read"
            raise ProblemError(404, "unknown-request", detail)
        headers = entity_tag(submission, "request", caller)
        body = submission.request.model_dump_json()
        return unchanged(request, headers) or Response(body, headers=headers, media_type="application/json")

    @router.get(
        "/{id}/outputs/{case}/{name:path}",
        response_class=Response,
        responses={
            **problems(404),
            **NOT_MODIFIED,
            200: FILE,
        },
        summary="Output file of a test case",
    )
    async def get_output(
        request: Request,
        caller: Annotated[Caller, reader],
        id: Id,
        case: Annotated[int, Path(ge=0, lt=1000, description="Index of the test case, from 0.")],
        name: Annotated[str, Path(description="Path of the file, relative to /box.")],
        _: IfNoneMatch = None,
    ) -> Response:
        """Return the content of one output file, which a test case wrote and `outputs` of the request names.

        Images have their media type and are shown by browsers; all other files are attachments. A file
        whose content was left out of the answer (`omitted`) is a 404 with the reason.
        """
        submission = await submissions.get(id, caller)
        headers = entity_tag(submission, uuid.uuid5(NAMESPACE, f"{case}/{name}").hex, caller)
        data = output_files.content(submission, case, name, caller)
        return unchanged(request, headers) or output_files.response(name, data, headers)

    @router.get(
        "/{id}/events",
        response_class=StreamingResponse,
        responses={**problems(404), **EVENT_STREAM},
        summary="Event stream of a submission, from its request to its end",
    )
    async def get_events(
        caller: Annotated[Caller, reader],
        id: Id,
        last_event_id: Annotated[
            str | None,
            Header(
                pattern=POSITION, description="Id of the last event received; the stream continues after it."
            ),
        ] = None,
    ) -> Response:
        """Follow a submission: each event from its request on, what it prints while it runs, and its end.

        The response is a stream of server-sent events, which browsers read with `EventSource`. It begins
        with all past events. After a lost connection `Last-Event-ID` continues it without a gap, at any
        node. It ends after `end`, whose data is the finished submission.
        """
        submission = await submissions.get(id, caller)
        if last_event_id == END:
            return Response(status_code=204)
        position = Position.of(last_event_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = events.follow(submission, position, caller)
        return _Counted(events.opened_with(caller.owner), stream, headers)

    return router


async def _unless_gone(request: Request, waiting: Coroutine[Any, Any, Submission]) -> Submission:
    """Return the result of `waiting`; cancel it once the client has closed its connection.

    A cancelled `Submissions.wait_final` returns the present state. Otherwise each client that goes away would
    leave a task until its timeout, and the number of tasks is bounded.
    """
    waits, goes = asyncio.ensure_future(waiting), asyncio.ensure_future(_disconnected(request))
    with suppress(asyncio.CancelledError):  # a server that shuts down cancels waiting requests
        await asyncio.wait({waits, goes}, return_when=asyncio.FIRST_COMPLETED)
    goes.cancel()
    waits.cancel()
    return await waits


async def _disconnected(request: Request) -> None:
    while True:
        if (await request.receive())["type"] == "http.disconnect":
            return


class _Counted(StreamingResponse):
    """Event stream that counts against its API key while it is open."""

    def __init__(
        self, open_: AbstractContextManager[None], stream: AsyncIterator[bytes], headers: dict[str, str]
    ) -> None:
        super().__init__(stream, headers=headers, media_type="text/event-stream")
        self._open = open_

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Count the stream as open, and send it.

        Raises:
            ProblemError: 429 if the API key has too many open streams.
        """
        with self._open:
            await super().__call__(scope, receive, send)
