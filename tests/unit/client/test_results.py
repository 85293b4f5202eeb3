"""What a user sees of a program that ran, or did not."""

import base64
from typing import Any

from envicutor_client import RunResult
from envicutor_client.models import Answer


def result(outcome: str = "ok", **fields: Any) -> RunResult:
    made = {"id": "one", "status": "finished", "created_at": "", "outcome": outcome}
    return RunResult(Answer.model_validate(made | fields))


def file(name: str, media_type: str, data: bytes | None) -> dict[str, Any]:
    content = None if data is None else base64.b64encode(data).decode()
    return {"name": name, "size_bytes": 1, "media_type": media_type, "content": content}


def test_a_program_that_ran() -> None:
    outputs = [
        file("a.png", "image/png", b"P"),
        file("b.csv", "text/csv", b"1"),
        file("c.svg", "image/svg+xml", b"<"),
    ]
    run = {"stdout": "/w==", "encoding": "base64", "exit_code": 0, "verdict": "accepted", "outputs": outputs}
    found = result(run=[run | {"outputs": [*outputs, file("large.png", "image/png", None)]}])
    assert (found.ok, found.verdict, found.exit_code, found.stdout) == (True, "accepted", 0, "\\xff")
    assert found.files == {"a.png": b"P", "b.csv": b"1", "c.svg": b"<"}
    plot, drawing = found.images
    assert (plot._repr_png_(), drawing._repr_png_()) == (b"P", None)
    assert "data:image/svg+xml;base64,PA==" in found._repr_html_()


def test_output_in_a_notebook_is_no_markup() -> None:
    found = result(run=[{"stdout": "<b>&", "exit_code": 0, "outputs": [file('"><x', "image/x", b"")]}])
    assert '<pre class="stdout">&lt;b&gt;&amp;</pre>' in found._repr_html_()
    assert "<x" not in found._repr_html_()


def test_the_first_case_that_is_not_accepted_gives_the_verdict() -> None:
    runs = [{"verdict": "accepted", "exit_code": 0}, {"verdict": "time_limit"}, {"verdict": "not_run"}]
    assert result("run_failed", run=runs).verdict == "time_limit"


def test_a_compiler_that_failed_stands_for_the_program() -> None:
    found = result("compile_failed", compile={"stderr": "error: x", "exit_code": 1})
    assert (found.verdict, found.stderr, found.exit_code) == ("compile_failed", "error: x", 1)


def test_what_did_not_run_has_an_explanation() -> None:
    stage = {"id": "d", "cached": False, "explanation": "no such package"}
    assert result("dependencies_failed", dependencies=stage).stderr == "no such package"
    assert result("internal_error", error="gave up").explanation == "gave up"
