"""Files that a request takes from the output of earlier submissions, over HTTP as over Kafka. Pure."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic_core import to_json

from topics.request.errors import FieldError, InvalidRequestError, RequestTooLargeError
from topics.request.files import File, FileOrigin
from topics.request.model import SubmissionRequest
from topics.request.parsing import check_convention
from topics.submissions.redaction import is_hidden
from topics.submissions.state import Submission

SOURCES = 8
"""Earlier submissions from which one request may take files. Each costs as much as reading its answer."""


def takes_files(request: SubmissionRequest) -> bool:
    """Return whether a request takes the content of any file from an earlier submission."""
    return any(True for _ in _wanted(request))


def taken_bytes(request: SubmissionRequest) -> int:
    """Return the length in bytes of the contents that a request has taken from earlier submissions."""
    return sum(len(one.file.content.encode()) for one in _wanted(request))


class _Wanted(NamedTuple):
    """A file whose content is taken."""

    field: str
    """Path of `from` in the request, for errors."""
    file: File
    origin: FileOrigin


@dataclass(frozen=True, slots=True)
class EarlierFiles:
    """Output files that one client may take from the submissions that `find` returns by id."""

    find: Callable[[str], Submission | None]
    source: Literal["http", "kafka"]
    """Interface of the client. It takes files of submissions that came in by the same one."""
    request_bytes: int
    """Largest request, which the contents count towards."""
    owner: str | None = None
    """Id of the client's API key. It takes files of submissions with the same owner."""
    reads_hidden: bool = True
    """Whether the client may take files that are hidden, as those that hidden test cases wrote."""

    def complete(
        self, id: str, request: SubmissionRequest, content_hash: str, sent_bytes: int
    ) -> SubmissionRequest:
        """Return the request of submission `id` with the contents that it takes.

        The same request again has the contents that it took first if they cannot be taken any more.
        `content_hash` and `sent_bytes` are those of the request as it was sent.

        Raises:
            InvalidRequestError: a content cannot be taken; the field and the reason are in the error.
            RequestTooLargeError: the request is too large with the contents.
        """
        wanted = list(_wanted(request))
        if not wanted:
            return request
        try:
            completed = _replaced(request, self._take_all(wanted, sent_bytes))
        except InvalidRequestError:
            known = self._own(id)
            if known and known.request and known.content_hash == content_hash:
                return known.request
            raise
        check_convention(completed)
        return completed

    def _take_all(self, wanted: list[_Wanted], sent_bytes: int) -> dict[str, File]:
        """Return the files with their contents, by field. One earlier submission is in memory at a time."""
        ids = dict.fromkeys(one.origin.submission for one in wanted)
        if len(ids) > SOURCES:
            message = f"take their contents from {len(ids)} submissions, and {SOURCES} are the most"
            raise InvalidRequestError((FieldError(field="files", message=message, limit=SOURCES),))
        taken: dict[str, File] = {}
        for id in ids:
            earlier = self._own(id)
            for one in (one for one in wanted if one.origin.submission == id):
                taken[one.field] = file = _with_content(one.file, self._content(one, earlier))
                sent_bytes += len(to_json(file.content))
                if sent_bytes > self.request_bytes:
                    raise _too_large(one, self.request_bytes)
        return taken

    def _own(self, id: str) -> Submission | None:
        found = self.find(id)
        return found if found and (found.owner, found.source) == (self.owner, self.source) else None

    def _content(self, wanted: _Wanted, earlier: Submission | None) -> bytes:
        id, case, name = wanted.origin.submission, wanted.origin.case, wanted.origin.name
        if earlier is None:
            raise _refused(wanted, f"there is no submission {id!r} of the same owner")
        if not earlier.final:
            raise _refused(wanted, f"submission {id!r} is {earlier.status}: it must have ended")
        if not self.reads_hidden and is_hidden(earlier, case, name):
            raise _refused(
                wanted, f"{name!r} of test case {case} of submission {id!r} is hidden from this API key"
            )
        if case >= len(earlier.run):
            raise _refused(
                wanted,
                f"submission {id!r} is {earlier.status} with {len(earlier.run)} test cases: "
                f"there is no case {case}",
            )
        found = next((file for file in earlier.run[case].outputs if file.name == name), None)
        if found is None:
            raise _refused(wanted, f"test case {case} of submission {id!r} has no output file {name!r}")
        if found.content is None:
            raise _refused(
                wanted,
                f"the content of {name!r} was left out of submission {id!r}, too large for {found.omitted}",
            )
        return base64.b64decode(found.content)


def _wanted(request: SubmissionRequest) -> Iterator[_Wanted]:
    """Yield the files of a request that have an origin, and those of its checker."""
    of_checker = request.checker.files if request.checker else ()
    for place, files in (("files", request.files), ("comparison.files", of_checker)):
        for number, file in enumerate(files):
            if file.origin:
                yield _Wanted(f"{place}.{number}.from", file, file.origin)


def _replaced(request: SubmissionRequest, taken: dict[str, File]) -> SubmissionRequest:
    def replaced(place: str, files: tuple[File, ...]) -> tuple[File, ...]:
        return tuple(taken.get(f"{place}.{number}.from", file) for number, file in enumerate(files))

    completed = request.replace(files=replaced("files", request.files))
    if (checker := request.checker) is None:
        return completed
    return completed.replace(comparison=checker.replace(files=replaced("comparison.files", checker.files)))


def _with_content(file: File, content: bytes) -> File:
    try:
        return file.replace(content=content.decode(), encoding="utf8")
    except UnicodeDecodeError:
        return file.replace(content=base64.b64encode(content).decode(), encoding="base64")


def _refused(wanted: _Wanted, message: str) -> InvalidRequestError:
    return InvalidRequestError((FieldError(field=wanted.field, message=message),))


def _too_large(wanted: _Wanted, request_bytes: int) -> RequestTooLargeError:
    message = (
        f"with the content of {wanted.origin.name!r} the request has more than {request_bytes} bytes, the "
        "limit request_bytes: take less, or have the operator raise ENVICUTOR_REQUEST_BYTES"
    )
    return RequestTooLargeError((FieldError(field=wanted.field, message=message, limit=request_bytes),))
