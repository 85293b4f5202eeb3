"""The client's models read what later servers write, and send only what was given."""

import json

import pytest

from envicutor_client import ClientError, NoSuchLanguageError
from envicutor_client.calls import dump
from envicutor_client.languages import of_file
from envicutor_client.models import (
    Answer,
    ExactComparison,
    File,
    FileOrigin,
    Language,
    Limits,
    RunLimits,
    SubmissionRequest,
)
from topics.request.limits import MiB
from topics.request.parsing import parse_request


def test_an_answer_of_a_later_server_is_read() -> None:
    later = {
        "id": "one",
        "status": "paused",
        "outcome": "postponed",
        "created_at": "",
        "mood": 1,
        "run": [{"verdict": "lucky", "encoding": "base85", "new": []}],
    }
    answer = Answer.model_validate_json(json.dumps(later))
    assert (answer.status, answer.outcome, answer.run[0].verdict) == ("paused", "postponed", "lucky")


def test_another_kind_of_comparison_is_read() -> None:
    assert SubmissionRequest.model_validate({"comparison": {"mode": "exact"}}).comparison == ExactComparison(
        mode="exact"
    )
    later = SubmissionRequest.model_validate({"comparison": {"mode": "images", "distance": 3}})
    assert later.comparison == {"mode": "images", "distance": 3}


def test_only_what_was_given_is_sent() -> None:
    request = SubmissionRequest(
        run="true",
        files=[File(name="a", origin=FileOrigin(submission="one", name="b"))],
        limits=Limits(run=RunLimits(wall_time_s=1.0)),
    )
    sent = dump(request)
    assert sent == {
        "run": "true",
        "files": [{"name": "a", "from": {"submission": "one", "name": "b"}}],
        "limits": {"run": {"wall_time_s": 1.0}},
    }
    parse_request(json.dumps(sent).encode(), MiB)


def language(name: str, *suffixes: str) -> Language:
    return Language(
        name=name,
        title=name,
        version="1",
        packages=(),
        source_file="main",
        suffixes=suffixes,
        compile=None,
        run="true",
        hello="",
        prebuilt=False,
    )


KNOWN = [language("cpp", ".cpp", ".cc"), language("pypy"), language("python", ".py")]


@pytest.mark.parametrize(("file", "name"), [("a/b.cc", "cpp"), ("x.py", "python")])
def test_the_suffix_names_the_language(file: str, name: str) -> None:
    assert of_file(KNOWN, file).name == name


@pytest.mark.parametrize("file", ["a.rs", "Makefile"])
def test_a_suffix_of_no_language(file: str) -> None:
    with pytest.raises(NoSuchLanguageError, match="there are cpp, pypy, python") as raised:
        of_file(KNOWN, file)
    assert isinstance(raised.value, ClientError)
