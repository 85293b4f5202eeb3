"""The routes of submissions."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from ingest import listing
from ingest.events import END, POSITION, Events, Position
from ingest.listing import Page
from ingest.problems import ProblemError
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from ingest.tracing import trace_context
from topics.submissions.state import Answer, Submission

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The submission's id.")]

_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SubmissionRequest"}}},
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: each fact under its name (`requested`, `started`, `finished` …), "
        "with a Happened as data; `output`, with an OutputChunk, while the program runs; last `end`, with "
        "the answer.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "The end was told before, nothing will come any more."},
}


def submission_routes(
    submissions: Submissions, events: Events, settings: IngestSettings, request_bytes: int
) -> APIRouter:
    """All below `/submissions`."""
    router = APIRouter(prefix="/submissions")

    @router.post(
        "",
        status_code=202,
        openapi_extra=_REQUEST_BODY,
        summary="Submit a program",
        response_model=Answer,
        responses={200: {"model": Answer, "description": "The answer (with `wait`)."}},
    )
    async def post_submission(
        request: Request,
        wait: Annotated[bool, Query(description="Answer when it is finished.")] = False,
        wait_timeout_s: Annotated[
            float, Query(gt=0, le=settings.wait_timeout_max_s, description="How long, in seconds.")
        ] = 30.0,
    ) -> Response:
        _check_media_type(request)
        body, beside = await _body(request, request_bytes), trace_context(request.headers)
        submission = await submissions.accept(body, wait_for_end=wait, beside=beside)
        if wait:
            submission = await submissions.wait_final(submission.id, wait_timeout_s)
        status = 200 if wait and submission.final else 202
        return _answer(submission, status, {"Location": f"/submissions/{submission.id}"})

    @router.get("", response_model=Page, summary="Submissions, newest first")
    async def list_submissions(query: Annotated[listing.Query, Query()]) -> Page:
        return await submissions.list(query)

    @router.get("/{id}", response_model=Answer, summary="A submission as it is now")
    async def get_submission(id: Id) -> Response:
        return _answer(await submissions.get(id))

    @router.delete("/{id}", response_model=Answer, summary="Cancel a submission")
    async def delete_submission(id: Id) -> Response:
        return _answer(await submissions.cancel(id))

    @router.get(
        "/{id}/events",
        response_class=StreamingResponse,
        responses=_EVENTS,
        summary="What happens to a submission, as it happens",
    )
    async def get_events(
        id: Id,
        last_event_id: Annotated[
            str | None, Header(pattern=POSITION, description="The id of the last event that came.")
        ] = None,
    ) -> Response:
        await submissions.get(id)
        if last_event_id == END:
            return Response(status_code=204)
        told = Position.of(last_event_id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events.follow(id, told), headers=headers, media_type="text/event-stream")

    return router


async def _body(request: Request, request_bytes: int) -> bytes:
    """The body, read no further than one byte past what is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > request_bytes:
            break  # what is said about it does not need the rest
    return bytes(body)


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(
            415, "unsupported-media-type", f"the body must be application/json, not {media_type!r}"
        )


def _answer(submission: Submission, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(submission.answer(), status, headers, "application/json")
