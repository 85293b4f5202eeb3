"""The step of a build is shown while the attempt that it is of is the present one."""

from typing import get_args

import pytest
from confluent_kafka import Message

from envicutor_client import models as client_models
from ingest.build_steps import BuildSteps, present_step
from nix.progress import Stage
from topics.dependencies.state import EnvironmentState, Status
from topics.dependencies.steps import BuildProgress, BuildStep
from topics.kafka.codec import encode
from topics.kafka.tail import TailConsumer
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies
from topics.settings import KafkaSettings

STEP = BuildStep(stage="fetching", done=12, total=55)
PROGRESS = encode(BuildProgress(attempt=2, builder="b", step=STEP))


def row(status: Status = "started", attempt: int = 2, builder: str | None = "b") -> bytes:
    return encode(
        EnvironmentState(
            id="d1",
            status=status,
            attempt=attempt,
            builder=builder,
            requested_at_ms=0,
            created_at="",
            dependencies=Dependencies(packages=("python3",)),
            package_set="debian",
            system="x86_64-linux",
            limits=DependenciesLimits(),
        )
    )


def test_clients_know_the_stages_of_installations() -> None:
    """In the same order; builders copy a stage as it is."""
    shown = get_args(BuildStep.model_fields["stage"].annotation)
    assert shown == get_args(Stage)
    in_client = get_args(client_models.BuildStep.model_fields["stage"].annotation)
    assert get_args(in_client[0]) == shown


def test_the_step_of_the_present_attempt() -> None:
    assert present_step(row(), PROGRESS) == STEP


def test_a_step_that_is_read_before_the_start_of_its_attempt() -> None:
    assert present_step(row("queued", builder=None), PROGRESS) == STEP


@pytest.mark.parametrize(
    "of_another",
    [
        row(attempt=3),
        row(builder="another"),
        row("queued", attempt=3, builder=None),
        row("installed"),
        row("failed"),
        row("gone"),
    ],
)
def test_no_step_of_another_attempt_or_of_one_that_is_over(of_another: bytes) -> None:
    assert present_step(of_another, PROGRESS) is None


@pytest.mark.parametrize("unreadable", [b"", b"{}", PROGRESS.replace(b"fetching", b"polishing")])
def test_no_step_of_a_record_that_cannot_be_read(unreadable: bytes) -> None:
    assert present_step(row(), unreadable) is None


def test_fields_of_a_later_version_are_ignored() -> None:
    assert present_step(row(), PROGRESS.replace(b'"attempt"', b'"later":1,"attempt"')) == STEP


def test_a_step_is_there_while_the_next_one_is_taken() -> None:
    """As another thread may ask at any time."""
    seen: list[BuildStep | None] = []

    class Arriving(Message):
        """A record at whose reading a client asks for the step."""

        def value(self, *_: object) -> bytes:
            seen.append(steps.of("d1", row()))
            return PROGRESS

    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    steps = BuildSteps(settings, "steps", TailConsumer(settings))
    for _ in range(2):
        steps._take([Arriving("steps", 0, 0, b"d1")])
    assert seen == [None, STEP]


def test_the_steps_of_the_builds_that_were_read_longest_ago_are_forgotten() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    steps = BuildSteps(settings, "steps", TailConsumer(settings))
    for id in ("d1", *(f"other-{number}" for number in range(999)), "d1", "last"):
        steps._take([Message("steps", 0, 0, id.encode(), PROGRESS)])
    assert steps.of("d1", row()) == STEP
    assert steps.of("other-0", row()) is None
    assert steps.of("other-1", row()) == STEP
