"""Routes that submit and cancel programs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from ingest import batch
from ingest.access import Access, Caller
from ingest.models import BatchResults
from ingest.openapi import ACCEPTED, ENDED, batch_body, problems, request_body
from ingest.request_body import json_body
from ingest.routes.router import Id, submissions_router
from ingest.settings import IngestSettings
from ingest.submissions import Submissions
from ingest.tracing import trace_context
from topics.security.api_keys import Scope
from topics.submissions.state import Answer, Submission


def submit_routes(
    submissions: Submissions, access: Access, settings: IngestSettings, request_bytes: int
) -> APIRouter:
    """Return the routes of submissions that append to the log."""
    router = submissions_router()
    batch_bytes = batch.BOUNDS_FACTOR * request_bytes

    @router.post(
        "",
        status_code=202,
        openapi_extra=request_body(),
        summary="Submit a program",
        response_model=Answer,
        responses={
            **problems(400, 408, 409, 413, 415, 507),
            200: {"model": Answer, **ENDED},
            202: ACCEPTED,
        },
    )
    async def post_submission(
        request: Request,
        caller: Annotated[Caller, Depends(access.needs(Scope.SUBMIT))],
        wait: Annotated[bool, Query(description="Respond when the submission has ended.")] = False,
        wait_timeout_s: Annotated[
            float,
            Query(
                gt=0,
                le=settings.wait_timeout_max_s,
                description="Longest wait, in seconds; after it the status is 202.",
            ),
        ] = 30.0,
        interactive: Annotated[
            bool,
            Query(
                description="The client waits for the end, such as on the event stream, so that the "
                "submission goes before others of its owner. `wait` implies it."
            ),
        ] = False,
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=255,
                description="Replaces a missing `id`: the same key stands for the same submission.",
            ),
        ] = None,
    ) -> Response:
        """Accept a program, store it durably, and run it as soon as a worker is free.

        The response is 202 with the submission's `id` and `Location` once the request is on the log; from
        then on it is not lost. With `wait=true` the response is the finished submission (200), or its
        present state (202) after `wait_timeout_s`. A program that fails is no error of HTTP: `outcome`
        and `run[].verdict` have its result.

        A client that chooses `id` (or sends `Idempotency-Key`) can send the same request again after a
        lost response: it receives the same submission. The same id with other content is a 409.
        """
        body = await json_body(request, request_bytes)
        submission = await submissions.accept(
            body,
            caller,
            idempotency_key=idempotency_key,
            extra_headers=trace_context(request.headers),
            interactive=wait or interactive,
        )
        if wait:
            submission = await submissions.wait_final(submission.id, wait_timeout_s, caller)
        status = 200 if wait and submission.final else 202
        return _answer(submission, status, {"Location": f"/submissions/{submission.id}"})

    @router.post(
        "/batch",
        openapi_extra=batch_body(batch.MAX_REQUESTS),
        response_model=BatchResults,
        responses=problems(400, 408, 413, 415),
        summary="Submit several programs, each accepted or refused on its own",
    )
    async def post_batch(
        request: Request, caller: Annotated[Caller, Depends(access.needs(Scope.SUBMIT))]
    ) -> Response:
        """Accept up to 100 programs in one request.

        The response is 200 as soon as each has been accepted or refused, and has one result for each, in
        their order, with the status that it would have received alone. It does not wait for their ends.
        Follow them with `GET /submissions?id=…&id=…`, with their event streams, or by `callback_url`.
        """
        body, extra_headers = await json_body(request, batch_bytes), trace_context(request.headers)
        results = await batch.accept_all(submissions, body, caller, batch_bytes, extra_headers)
        return Response(results.model_dump_json(exclude_none=True), media_type="application/json")

    @router.delete(
        "/{id}",
        summary="Cancel a submission",
        response_model=Answer,
        response_description="The submission. A key that may not read it receives only `id`, `status`, "
        "`attempt`, `created_at` and `finished_at`.",
        responses=problems(404, 409),
    )
    async def delete_submission(
        id: Id, caller: Annotated[Caller, Depends(access.needs(Scope.SUBMIT, Scope.OPERATE))]
    ) -> Response:
        """Cancel a submission that has not ended.

        A waiting submission never runs; the program of a running one is killed. Its status is `cancelled`
        then. A submission that has ended already stays as it is: the response is a 409. Nothing is
        deleted: the log keeps the request.
        """
        cancelled = await submissions.cancel(id, caller)
        body = cancelled.answer() if caller.may_read(cancelled) else cancelled.outline()
        return Response(body, media_type="application/json")

    return router


def _answer(submission: Submission, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(submission.answer(), status, headers, "application/json")
