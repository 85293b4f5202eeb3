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
    from tests.support.registry import Registry
    from tests.system.cluster.running import Cluster


LEFT_OPEN = ("kafka", "views", "faust", "sealer", "root", "run", "secrets")
"""Folders of the running system's data that other accounts could read before it started."""


@pytest.fixture(scope="session")
def served() -> "Iterator[Registry]":
    """The registries of PyPI and npm packages that the system knows."""
    from tests.support.registry import publish_greeting, registry

    with tempfile.TemporaryDirectory(prefix="envicutor-registry-") as folder:
        Path(folder).chmod(0o755)
        with registry(Path(folder)) as served:
            publish_greeting(served)
            yield served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fail if a test that uses a running system may run in a process that would start another."""
    for item in items:
        uses = "cluster" in getattr(item, "fixturenames", ())
        if uses and not item.get_closest_marker("xdist_group"):
            raise pytest.UsageError(f"{item.nodeid} uses `cluster` and has no xdist_group")


@pytest.fixture(scope="session")
def cluster(cache_dir: Path, served: "Registry") -> "Iterator[Cluster]":
    from tests.system.cluster.running import NUMPY, Cluster

    assert os.geteuid() == 0, "system tests need root: mounts, control groups, user ids"
    folder = Path(tempfile.mkdtemp(prefix="envicutor-system-"))
    folder.chmod(0o755)
    wanted = folder / "environments.json"
    wanted.write_text(json.dumps([NUMPY]))
    (folder / "data").mkdir(mode=0o711)
    for name in LEFT_OPEN:
        (folder / "data" / name).mkdir()
        (folder / "data" / name).chmod(0o755)
    registries = {name.upper(): value for name, value in served.settings.items()}
    options = ("--workers", "2", "--cache-builders", "2")
    cluster = Cluster(
        folder, cache_dir, *options, settings={"PREBUILD": wanted, "LANGUAGES": ["lua"], **registries}
    )
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
