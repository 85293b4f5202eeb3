"""Files that a request takes from earlier submissions."""

import base64
import json
from typing import Any

import pytest

from topics.request.errors import InvalidRequestError, RequestTooLargeError
from topics.request.files import File, FileOrigin
from topics.request.limits import MiB
from topics.request.model import SubmissionRequest
from topics.request.parsing import parse_request
from topics.submissions.earlier_files import SOURCES, EarlierFiles, takes_files
from topics.submissions.stage import OutputFile, RunStage
from topics.submissions.state import Submission

REQUEST_BYTES = 1000


def output(name: str, content: bytes | None) -> OutputFile:
    encoded = None if content is None else base64.b64encode(content).decode()
    made = OutputFile(name=name, size_bytes=1, media_type="a/b", content=encoded)
    return made if encoded else made.replace(omitted="output_file_bytes")


RUN = RunStage(
    exit_code=0,
    outputs=(
        output("a.txt", "ü".encode()),
        output("a.bin", b"\xff\0"),
        output("big", None),
        output("long", b"x" * REQUEST_BYTES),
    ),
)
CASES = [{}, {"hidden": True, "input_file": "in.txt"}]
FILES = [{"name": "in.txt", "content": "x"}]


def submission(**fields: Any) -> Submission:
    request, content_hash = parse_request(
        json.dumps({"run": "true", "files": FILES, "test_cases": CASES}).encode(), MiB
    )
    made = Submission(
        id="old",
        status="finished",
        created_at="t",
        finished_at="t",
        owner="me",
        run=(RUN, RUN),
        request=request,
        content_hash=content_hash,
    )
    return made.replace(**fields)


def taken(
    *files: dict[str, Any], old: Submission | None = None, reads_hidden: bool = True, **more: Any
) -> SubmissionRequest:
    raw = json.dumps({"run": "true", "files": files} | more).encode()
    request, content_hash = parse_request(raw, REQUEST_BYTES)
    found = {"old": old or submission()}
    mine = EarlierFiles(found.get, "http", REQUEST_BYTES, "me", reads_hidden)
    return mine.complete("new", request, content_hash, len(raw))


def file(name: str = "a.txt", **origin: Any) -> dict[str, Any]:
    return {"name": f"of {name}", "from": {"submission": "old", "name": name} | origin}


def test_the_content_is_copied_and_the_origin_kept() -> None:
    request = taken(file(), {"name": "own", "content": "own"}, file("a.bin", case=1))
    assert request.files == (
        File(name="of a.txt", content="ü").replace(origin=FileOrigin(submission="old", name="a.txt")),
        File(name="own", content="own"),
        File(name="of a.bin", content="/wA=", encoding="base64").replace(
            origin=FileOrigin(submission="old", name="a.bin", case=1)
        ),
    )
    assert SubmissionRequest.read(request.model_dump_json()) == request, "a stored one has both"
    checker = {"mode": "checker", "run": "true", "files": [file()]}
    of_checker = taken(comparison=checker).checker
    assert of_checker is not None
    assert of_checker.files[0].content == "ü"


def test_a_request_without_origins_is_not_touched() -> None:
    request, content_hash = parse_request(b'{"run": "true"}', MiB)
    none = EarlierFiles(lambda _: pytest.fail("nothing is looked for"), "http", 1)
    assert none.complete("new", request, content_hash, 2) is request
    assert not takes_files(request)


@pytest.mark.parametrize(
    ("asked", "old", "message"),
    [
        (file(submission="other"), {}, "there is no submission 'other' of the same owner"),
        (file(), {"owner": "you"}, "there is no submission 'old' of the same owner"),
        (file(), {"source": "kafka"}, "there is no submission 'old' of the same owner"),
        (file(), {"status": "started"}, "submission 'old' is started: it must have ended"),
        (file(), {"status": "cancelled", "run": ()}, "is cancelled with 0 test cases: there is no case 0"),
        (file(case=2), {}, "is finished with 2 test cases: there is no case 2"),
        (file("none"), {}, "test case 0 of submission 'old' has no output file 'none'"),
        (file("big"), {}, "the content of 'big' was left out of submission 'old', too large for output_file"),
        (file("none", case=1), {}, "'none' of test case 1 of submission 'old' is hidden from"),
        (file("in.txt"), {}, "'in.txt' of test case 0 of submission 'old' is hidden from this API key"),
    ],
)
def test_an_error_names_the_field_and_the_reason(
    asked: dict[str, Any], old: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        taken({"name": "own", "content": ""}, asked, old=submission(**old), reads_hidden=False)
    (error,) = refused.value.errors
    assert error.field == "files.1.from"
    assert message in error.message


def test_the_request_with_its_contents_has_the_bound_of_a_request() -> None:
    with pytest.raises(RequestTooLargeError) as refused:
        taken(file(), file("long"))
    (error,) = refused.value.errors
    assert (error.field, error.limit) == ("files.1.from", REQUEST_BYTES)


def test_a_request_takes_files_of_few_submissions() -> None:
    raw = json.dumps({"run": "true", "files": [file(str(n), submission=str(n)) for n in range(SOURCES + 1)]})
    request, content_hash = parse_request(raw.encode(), MiB)
    with pytest.raises(InvalidRequestError) as refused:
        EarlierFiles(lambda _: None, "http", MiB).complete("a", request, content_hash, 1)
    assert (refused.value.errors[0].field, refused.value.errors[0].limit) == ("files", SOURCES)


def test_the_same_request_again_needs_no_source() -> None:
    raw = json.dumps({"run": "true", "files": [file()]}).encode()
    request, content_hash = parse_request(raw, MiB)
    accepted = EarlierFiles({"old": submission()}.get, "http", MiB, "me").complete(
        "new", request, content_hash, len(raw)
    )
    first = submission(id="new", request=accepted, content_hash=content_hash)
    assert (
        EarlierFiles({"new": first}.get, "http", MiB, "me").complete("new", request, content_hash, len(raw))
        is accepted
    )
    for other in (
        EarlierFiles({"new": first}.get, "http", MiB, "you"),
        EarlierFiles({"new": first.replace(content_hash="other")}.get, "http", MiB, "me"),
    ):
        with pytest.raises(InvalidRequestError, match="no submission 'old'"):
            other.complete("new", request, content_hash, len(raw))


def test_a_sent_file_has_either_content_or_from() -> None:
    both = file() | {"content": ""}
    checker = {"mode": "checker", "run": "true", "files": [both]}
    for body, field in (
        ({"files": [both]}, "files.0.from"),
        ({"comparison": checker}, "comparison.files.0.from"),
    ):
        with pytest.raises(InvalidRequestError, match="give either content or from") as refused:
            parse_request(json.dumps({"run": "true"} | body).encode(), MiB)
        assert refused.value.errors[0].field == field


def test_a_script_of_the_older_convention_is_not_taken_over() -> None:
    asked = file() | {"name": "cutor-compile.sh"}
    with pytest.raises(InvalidRequestError, match=r"does not read cutor-compile\.sh"):
        taken(asked)
