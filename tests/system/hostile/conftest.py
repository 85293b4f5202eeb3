"""One arena for all attacks that a process runs; a fixture of its own, so that another engine can be faced too."""

from collections.abc import Iterator

import pytest

from tests.system.hostile.arena import Arena, opened
from tests.system.sandbox.laboratory import temporary_settings


@pytest.fixture(scope="package")
def arena() -> Iterator[Arena]:
    with temporary_settings() as settings, opened(settings) as made:
        yield made
