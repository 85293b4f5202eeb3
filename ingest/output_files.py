"""Output files of a submission as HTTP responses that no browser runs as a page of this server."""

import base64
from urllib.parse import quote

from fastapi import Response

from ingest.access import Caller
from ingest.problems import ProblemError
from topics.submissions.redaction import is_hidden
from topics.submissions.state import Submission

_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
"""Media types of images by the first bytes of a file, since its name may be wrong."""


def content(submission: Submission, case: int, name: str, caller: Caller) -> bytes:
    """Return the content of an output file.

    Raises:
        ProblemError: 404 if there is no such file, or if it was left out of the answer; 403 for any file of a
            hidden test case, and any that has the name of its input, that the caller may not read.
    """
    if not caller.reads_hidden and is_hidden(submission, case, name):
        detail = f"{name!r} of test case {case} is hidden: reading it needs the right reads-hidden"
        raise ProblemError(403, "forbidden", detail)
    outputs = submission.run[case].outputs if case < len(submission.run) else ()
    found = next((file for file in outputs if file.name == name), None)
    if found is None:
        detail = f"test case {case} has no output file {name!r}: see `run` of the submission"
        raise ProblemError(404, "unknown-output", detail)
    if found.content is None:
        detail = f"{name!r} was left out, too large for {found.omitted}: ask for smaller or fewer files"
        raise ProblemError(404, "output-left-out", detail)
    return base64.b64decode(found.content)


def response(name: str, data: bytes, headers: dict[str, str]) -> Response:
    """Return a response with which browsers show an image, save any other file, and run neither."""
    image = media_type(data)
    disposition = "inline" if image else "attachment"
    safe = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name.rsplit('/', 1)[-1], safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, headers=headers | safe, media_type=image or "application/octet-stream")


def media_type(data: bytes) -> str | None:
    """Return the media type of an image that browsers show without running code, or None for other data."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((image for magic, image in _IMAGES.items() if data.startswith(magic)), None)
