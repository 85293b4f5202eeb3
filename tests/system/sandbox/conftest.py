"""Sandboxes of the test's own, which must leave nothing behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.sandbox import SandboxSettings
from tests.system.sandbox.laboratory import Laboratory, groups_of, mounts_of, processes_of


@pytest.fixture
def settings() -> Iterator[SandboxSettings]:
    """Settings with a state folder and user ids that no other test has."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    state_dir = Path(tempfile.mkdtemp(prefix="sandboxes-"))
    state_dir.chmod(0o711)
    first_uid = 1_910_000_000 + os.getpid() % 100_000 * 1000
    yield SandboxSettings(state_dir=state_dir, first_uid=first_uid, boxes=32)
    shutil.rmtree(state_dir)


@pytest.fixture
def laboratory(settings: SandboxSettings) -> Iterator[Laboratory]:
    laboratory = Laboratory(settings)
    yield laboratory
    assert processes_of(settings) == []
    assert mounts_of(settings) == []
    assert groups_of(settings.state_dir) == []
    assert [group for group in laboratory.groups if group.exists()] == []
    left = [path for path in settings.state_dir.glob("*/*") if path.name != "lock"]
    assert left == []
