"""The step of a build is shown while the attempt that it is of is the present one."""

import pytest

from ingest.build_steps import present_step
from topics.dependencies.state import EnvironmentState, Status
from topics.dependencies.steps import BuildProgress, BuildStep
from topics.kafka.codec import encode
from topics.request.limits import DependenciesLimits
from topics.request.model import Dependencies

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
