"""Two ingest nodes and a SubmissionStore on a real broker; the tests are the workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.http.nodes import Nodes


@pytest.fixture(scope="package")
def nodes(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder: Path = tmp_path_factory.mktemp("nodes")
    with Nodes(kafka, folder) as nodes:
        yield nodes
