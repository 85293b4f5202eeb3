"""One system for all tests that need a running one: starting it costs more than most of them."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.cluster.running import Cluster


@pytest.fixture(scope="session")
def cluster(cache_dir: Path) -> "Iterator[Cluster]":
    from tests.system.cluster.running import NUMPY, Cluster

    assert os.geteuid() == 0, "system tests need root: mounts, control groups, user ids"
    folder = Path(tempfile.mkdtemp(prefix="envicutor-system-"))
    folder.chmod(0o755)
    wanted = folder / "environments.json"
    wanted.write_text(json.dumps([NUMPY]))
    options = ("--workers", "2", "--cache-builders", "2")
    cluster = Cluster(folder, cache_dir, *options, settings={"PREBUILD": wanted})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
