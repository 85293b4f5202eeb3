"""One arena for all attacks that this process runs."""

from collections.abc import Iterator

import pytest

from tests.system.hostile.arena import Arena, opened
from tests.system.sandbox.laboratory import temporary_settings


@pytest.fixture(scope="package")
def arena() -> Iterator[Arena]:
    with temporary_settings() as settings, opened(settings) as made:
        yield made
