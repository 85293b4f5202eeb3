"""Answers in bodies of webhooks."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from topics.kafka.codec import encode
from topics.request.errors import InvalidRequestError
from topics.request.files import TEST_CASES
from topics.request.limits import MiB
from topics.request.parsing import parse_request
from topics.submissions import shortening
from topics.submissions.shortening import shortened
from topics.submissions.stage import CheckerStage, CompileStage, OutputFile, RunStage
from topics.submissions.state import Answer, Submission
from topics.submissions.webhook import BODY_BYTES, EndedData, make_webhook

URL = "http://hooks.test/"
FILE = OutputFile(name="a.txt", size_bytes=3, media_type="text/plain", content="eHh4")


def answer(*run: RunStage, **fields: Any) -> Answer:
    return Answer(id="a", status="finished", created_at="t", run=run, **fields)


def told(*run: RunStage, error: str | None = None, **fields: Any) -> EndedData:
    body = {"run": "true", "callback_url": URL, "callback_answer": True} | fields
    request, _ = parse_request(json.dumps(body).encode(), MiB, ["hooks.test:80"])
    ended = Submission(
        id="a", status="finished", created_at="t", finished_at="t", outcome="ok", request=request, run=run
    ).replace(error=error)
    webhook = make_webhook(ended)
    assert webhook is not None
    assert len(encode(webhook.body)) <= BODY_BYTES
    return webhook.body.data


def test_an_answer_has_names_of_files_and_nothing_that_is_hidden() -> None:
    run = RunStage(stdout="out", exit_code=0, outputs=(FILE,))
    data = told(run, run.replace(stdout="hidden"), test_cases=[{}, {"hidden": True}])
    assert data.answer is not None
    shown, hidden = data.answer.run
    assert shown == run.replace(outputs=(FILE.replace(content=None),))
    assert (hidden.stdout, hidden.outputs, hidden.hidden) == ("", (), True)
    assert "request" not in data.answer.model_dump()
    assert told(run, callback_answer=False).answer is None


def test_a_long_answer_is_cut_and_a_short_stream_in_it_is_not() -> None:
    long, short = RunStage(stdout="ü\0" * MiB, stderr="short"), RunStage(stdout="short")
    data = told(long, short, long)
    assert data.answer is not None
    first, second, third = data.answer.run
    assert second == short
    assert first == third
    assert (first.stderr, first.truncated) == ("short", True)
    assert long.stdout.startswith(first.stdout)
    assert BODY_BYTES - 8192 < len(data.answer.model_dump_json().encode()) <= BODY_BYTES


def test_the_most_cases_and_the_longest_names_fit() -> None:
    files = tuple(FILE.replace(name=f"{n}/" + "x" * 1000) for n in range(8))
    run = RunStage(
        exit_code=255,
        signal="SIGKILL",
        limit_exceeded="file_size_bytes",
        wall_time_s=12.345678,
        cpu_time_s=12.345678,
        memory_bytes=2**31,
        verdict="checker_error",
        score=1.234567,
        stdout="x" * 3000,
        checker=CheckerStage(stdout="y" * 3000, exit_code=255, wall_time_s=12.345678, memory_bytes=2**31),
        outputs=files,
        passed=False,
    )
    data = told(*[run] * TEST_CASES, error="e" * MiB)
    assert data.answer is not None
    assert len(data.answer.run) == TEST_CASES
    assert {(stage.outputs, stage.truncated) for stage in data.answer.run} == {((), True)}
    assert data.answer.run[0].stdout.startswith("x")


texts = st.text(max_size=300)
stages = st.builds(
    RunStage, stdout=texts, stderr=texts, checker=st.none() | st.builds(CheckerStage, stdout=texts)
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(stages, max_size=3), st.none() | st.builds(CompileStage, stderr=texts), st.integers(2300, 5000)
)
def test_any_answer_is_cut_to_its_bound_and_no_further(
    run: list[RunStage], compile: CompileStage | None, most_bytes: int
) -> None:
    whole = answer(*run, compile=compile)
    cut = shortened(whole, most_bytes)
    size = len(cut.model_dump_json().encode())
    assert size <= most_bytes
    if cut != whole:
        assert size > most_bytes - 200
        assert any(stage.truncated or (stage.checker and stage.checker.truncated) for stage in cut.run) or (
            cut.compile and cut.compile.truncated
        )


def test_each_stream_is_serialized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    serialized: list[str] = []

    def counted(text: str) -> bytes:
        serialized.append(text)
        return to_json(text)

    monkeypatch.setattr(shortening, "to_json", counted)
    run = RunStage(stdout="a" * 1000, stderr="b" * 1000)
    assert shortened(answer(run), MiB) == answer(run)
    assert serialized == [run.stdout, run.stderr]
    assert shortened(answer(run), 1500).run[0].truncated
    assert serialized == [run.stdout, run.stderr] * 2


def test_an_answer_needs_an_address() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(b'{"run": "true", "callback_answer": true}', MiB)
    assert refused.value.errors[0].field == "callback_answer"
