"""Answers that will not change any more need not be sent again."""

from fastapi import Request, Response

from topics.submissions.state import Submission


def entity_tag(submission: Submission, part: str) -> dict[str, str]:
    """`ETag` of a part of a submission, as headers; none while it may change.

    Weak: the bytes may be compressed or not, and another version may write them otherwise.
    """
    if not submission.final:
        return {"Cache-Control": "no-store"}
    return {"ETag": f'W/"{submission.finished_at}/{part}"', "Cache-Control": "private, no-cache"}


def unchanged(request: Request, headers: dict[str, str]) -> Response | None:
    """A 304 for who has it already; None for who has not."""
    tag = headers.get("ETag")
    known = {known.strip() for known in request.headers.get("if-none-match", "").split(",")}
    return Response(status_code=304, headers=headers) if tag and known & {tag, "*"} else None
