"""What of the output of programs fits into an answer."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from processors.sandbox import Collected, CollectedFile, Completed
from processors.worker.answer_budget import AnswerBudget, media_type
from processors.worker.grading import Grade
from topics.request.output_patterns import OUTPUT_FILE_BYTES
from topics.submissions.stage import CompileStage, OutputFile, RunStage, StageResult

ACCEPTED = Grade("accepted", 2.0, True)


def completed(
    stdout: bytes = b"", stderr: bytes = b"", exit_code: int | None = 0, **more: object
) -> Completed:
    rest = {"signal": None, "wall_time_s": 0.5, "cpu_time_s": 0.25, "memory_bytes": 7, "limit_exceeded": None}
    return Completed(stdout, stderr, exit_code, **(rest | {"truncated": False} | more))  # type: ignore[arg-type]


def stage_of(stdout: bytes, stderr: bytes = b"", answer_bytes: int = 1000) -> CompileStage:
    return AnswerBudget(answer_bytes).compile_stage(completed(stdout, stderr))


def sent(*stages: StageResult) -> int:
    """Bytes of all output as JSON, without the quotes around."""
    return sum(len(to_json(text)) - 2 for stage in stages for text in (stage.stdout, stage.stderr))


def output(text: str, encoding: str) -> bytes:
    return base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()


def test_a_stage_says_what_the_program_did_and_cost() -> None:
    assert stage_of("häh\n".encode(), b"err") == CompileStage(
        stdout="häh\n",
        stderr="err",
        exit_code=0,
        signal=None,
        wall_time_s=0.5,
        cpu_time_s=0.25,
        memory_bytes=7,
    )
    killed = completed(exit_code=None, signal="SIGKILL", limit_exceeded="memory_bytes", truncated=True)
    stage = AnswerBudget(100).compile_stage(killed)
    assert (stage.exit_code, stage.signal, stage.limit_exceeded) == (None, "SIGKILL", "memory_bytes")
    assert stage.truncated
    assert not stage.ok


@pytest.mark.parametrize(
    ("stdout", "stderr", "encoding"),
    [
        (b"text", "ünï\0".encode(), "utf8"),
        (b"\xff", b"", "base64"),
        (b"text", b"\xff", "base64"),
        (b"\0" * 100, b"", "base64"),
        (b'"' * 100, b"\\" * 100, "utf8"),
        (b"\0" * 100, b"x" * 1000, "utf8"),
    ],
)
def test_bytes_that_are_no_text_and_text_that_escaping_would_double_go_as_base64(
    stdout: bytes, stderr: bytes, encoding: str
) -> None:
    stage = stage_of(stdout, stderr, 10_000)
    assert stage.encoding == encoding
    assert (output(stage.stdout, encoding), output(stage.stderr, encoding)) == (stdout, stderr)
    assert not stage.truncated


outputs = (
    st.binary(max_size=40)
    | st.text(max_size=40).map(str.encode)
    | st.integers(0, 60).map(lambda n: b"\0" * n)
)


@settings(max_examples=100)
@given(st.lists(st.tuples(outputs, outputs), min_size=1, max_size=4))
def test_what_fits_is_kept_whole(pairs: list[tuple[bytes, bytes]]) -> None:
    budget = AnswerBudget(10_000)
    for stdout, stderr in pairs:
        stage = budget.compile_stage(completed(stdout, stderr))
        assert (output(stage.stdout, stage.encoding), output(stage.stderr, stage.encoding)) == (
            stdout,
            stderr,
        )
        assert not stage.truncated


@settings(max_examples=100)
@given(st.lists(st.tuples(outputs, outputs), min_size=1, max_size=4), st.integers(1, 200))
def test_the_answer_never_exceeds_its_budget(pairs: list[tuple[bytes, bytes]], answer_bytes: int) -> None:
    budget = AnswerBudget(answer_bytes)
    stages = [budget.compile_stage(completed(stdout, stderr)) for stdout, stderr in pairs]
    assert sent(*stages) <= answer_bytes
    for stage, (stdout, stderr) in zip(stages, pairs, strict=True):
        kept = output(stage.stdout, stage.encoding), output(stage.stderr, stage.encoding)
        assert stdout.startswith(kept[0])
        assert stderr.startswith(kept[1])
        assert stage.truncated == (kept != (stdout, stderr))


def test_a_prefix_of_escapes_is_cut_to_the_budget_too() -> None:
    assert sent(stage_of(b"\0" * 1000 + b"x" * 10_000, answer_bytes=1000)) <= 1000


def test_no_output_is_not_truncated_output_when_the_budget_is_used_up() -> None:
    budget = AnswerBudget(10)
    assert budget.compile_stage(completed(b"x" * 100)).truncated
    assert not budget.compile_stage(completed()).truncated


def test_text_is_cut_between_characters() -> None:
    stage = stage_of("ü".encode() * 100, answer_bytes=101)
    assert stage.truncated
    assert set(stage.stdout) == {"ü"}


def test_what_a_checker_prints_counts_after_what_the_program_prints() -> None:
    budget = AnswerBudget(25)
    stage = budget.run_stage(completed(b"x" * 20), ACCEPTED, checked=completed(b"", b"y" * 20, exit_code=7))
    assert stage.checker is not None
    assert (stage.stdout, stage.checker.stderr) == ("x" * 20, "y" * 5)
    assert (stage.truncated, stage.checker.truncated) == (False, True)
    assert (stage.verdict, stage.score, stage.passed, stage.checker.exit_code) == ("accepted", 2.0, True, 7)
    assert budget.run_stage(completed(), ACCEPTED).checker is None


# -- output files ----------------------------------------------------------------------------------


def collected(*files: tuple[str, bytes | None]) -> Collected:
    return Collected([CollectedFile(name, len(content or b""), content) for name, content in files])


def outputs_bytes(stage: RunStage) -> int:
    return sum(len(file.model_dump_json().encode()) for file in stage.outputs)


def test_files_come_back_whole() -> None:
    stage = AnswerBudget(1000).run_stage(completed(), ACCEPTED, collected(("out/a.csv", b"1,2\n")))
    assert stage.outputs == (
        OutputFile(name="out/a.csv", size_bytes=4, media_type="text/csv", content="MSwyCg=="),
    )
    assert not stage.truncated


def test_what_was_too_large_to_be_read_says_for_what() -> None:
    large = CollectedFile("large", OUTPUT_FILE_BYTES + 1, None)
    late = CollectedFile("late", 10, None)
    stage = AnswerBudget(1000).run_stage(completed(), ACCEPTED, Collected([large, late]))
    assert [(file.content, file.omitted) for file in stage.outputs] == [
        (None, "output_file_bytes"),
        (None, "answer_bytes"),
    ]
    assert stage.truncated


def test_a_file_is_all_or_nothing_and_smaller_ones_may_still_fit() -> None:
    stage = AnswerBudget(800).run_stage(
        completed(), ACCEPTED, collected(("large", bytes(450)), ("small", bytes(30)))
    )
    assert [(file.name, file.omitted) for file in stage.outputs] == [
        ("large", "answer_bytes"),
        ("small", None),
    ]
    assert stage.truncated


def test_files_leave_room_for_what_is_printed_later() -> None:
    budget = AnswerBudget(4000)
    for _ in range(100):
        budget.run_stage(completed(), ACCEPTED, collected(("file", bytes(100))))
    assert budget.room_bytes < 200
    assert not budget.run_stage(completed(b"x" * 1000), ACCEPTED).truncated


def test_files_that_were_not_found_in_time_are_missing_output() -> None:
    stage = AnswerBudget(100).run_stage(completed(), ACCEPTED, Collected(complete=False))
    assert stage.truncated


file_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=9
)
some_files = st.lists(st.tuples(file_names, st.binary(max_size=200)), max_size=6)


@settings(max_examples=100)
@given(st.lists(st.tuples(outputs, some_files), min_size=1, max_size=3), st.integers(0, 3000))
def test_output_and_files_never_exceed_the_budget_together(
    cases: list[tuple[bytes, list[tuple[str, bytes]]]], answer_bytes: int
) -> None:
    budget = AnswerBudget(answer_bytes)
    stages = []
    for stdout, files in cases:
        stage = budget.run_stage(completed(stdout), ACCEPTED, collected(*files))
        stages.append(stage)
        contents = [
            None if file.content is None else base64.b64decode(file.content) for file in stage.outputs
        ]
        if not stage.truncated:
            assert [
                (file.name, content) for file, content in zip(stage.outputs, contents, strict=True)
            ] == files
        assert all((file.content is None) == (file.omitted is not None) for file in stage.outputs)
    assert sent(*stages) + sum(map(outputs_bytes, stages)) <= answer_bytes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("out/plot.png", "image/png"),
        ("page.HTML", "text/html"),
        ("a.tar.gz", "application/gzip"),
        ("data:text/html,x", "application/octet-stream"),
        ("http://x/data", "application/octet-stream"),
        ("no-suffix", "application/octet-stream"),
        (".png", "application/octet-stream"),
    ],
)
def test_media_types_are_guessed_from_names(name: str, expected: str) -> None:
    assert media_type(name) == expected
