"""Sandboxes of the test's own, which must leave nothing behind."""

from collections.abc import Iterator

import pytest

from processors.sandbox import SandboxSettings
from tests.system.sandbox.laboratory import Laboratory, left_by, temporary_settings


@pytest.fixture
def settings() -> Iterator[SandboxSettings]:
    with temporary_settings() as settings:
        yield settings


@pytest.fixture
def unprepared(settings: SandboxSettings) -> SandboxSettings:
    """Settings without prepared sandboxes, for tests that count processes or kill launchers."""
    return settings.model_copy(update={"prepared": 0})


@pytest.fixture
def laboratory(settings: SandboxSettings) -> Iterator[Laboratory]:
    laboratory = Laboratory(settings)
    yield laboratory
    assert left_by(settings, laboratory.groups) == []
