"""The examples are requests that can be accepted, and each says what must come of it."""

import json

import pytest

from envicutor_client.models import Answer, DependenciesStage, OutputFile, RunStage
from infra.demo import Example, Expected, load_examples, runnable
from nix.settings import NixSettings
from topics.request.limits import MiB
from topics.request.parsing import parse_request


@pytest.mark.parametrize("example", load_examples(), ids=lambda example: example.label)
def test_each_example_is_a_valid_request(example: Example) -> None:
    parse_request(json.dumps(example.request).encode(), 1 * MiB)


def test_examples_that_need_a_registry_run_where_there_is_one() -> None:
    without, both = (
        {example.name for example in runnable(load_examples(), settings)}
        for settings in (NixSettings(), NixSettings(pypi_index="https://a", npm_registry="https://a"))
    )
    assert both - without == {"pinned"}


def answer(outcome: str, **changes: object) -> Answer:
    made = {"id": "x", "status": "finished", "created_at": "", "outcome": outcome, **changes}
    return Answer.model_validate(made)


def test_another_outcome_is_a_difference() -> None:
    assert Expected(outcome="ok").differences(answer("ok")) == []
    assert Expected(outcome="ok").differences(answer("run_failed")) == ["expected ok"]


def test_the_limit_and_what_was_printed_count() -> None:
    killed = answer("run_failed", run=(RunStage(stdout="8 MiB\n", limit_exceeded="memory_bytes"),))
    expected = Expected(outcome="run_failed", limit_exceeded="memory_bytes", stdout="8 MiB")
    assert expected.differences(killed) == []
    assert len(expected.differences(answer("run_failed"))) == 2


def test_the_explanation_counts() -> None:
    stage = DependenciesStage(id="d", cached=False, explanation="there is no package 'x'")
    failed = answer("dependencies_failed", dependencies=stage)
    assert Expected(outcome="dependencies_failed", explanation="'x'").differences(failed) == []
    assert Expected(outcome="dependencies_failed", explanation="'y'").differences(failed)


def test_files_that_came_back_count() -> None:
    file = OutputFile(name="a", size_bytes=0, media_type="x/y", content="")
    came = answer("ok", run=(RunStage(outputs=(file,)),))
    assert Expected(outcome="ok", outputs=("a",)).differences(came) == []
    assert Expected(outcome="ok", outputs=("a", "b")).differences(came)
    assert Expected(outcome="ok", outputs=("a",)).differences(answer("ok"))
