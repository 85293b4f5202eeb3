"""A host whose disk is full says so, gets stuck nowhere, and works again once there is room."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster

pytestmark = pytest.mark.xdist_group("small disks")

BOXES = "sandboxes"
CACHE = "data/nix"
SIZES = {BOXES: "16m", CACHE: "1g"}


class SmallDisks:
    """A system of one worker and one builder, on disks that can be filled."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self._folder = folder
        self.cluster = Cluster(folder, cache_dir)

    @contextmanager
    def full(self, disk: str) -> Iterator[None]:
        """No byte is left on it within the context."""
        filler = self._folder / disk / "filler"
        free = shutil.disk_usage(filler.parent).free
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free)
        try:
            yield
        finally:
            filler.unlink()


@pytest.fixture(scope="module")
def disks(cache_dir: Path) -> Iterator[SmallDisks]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-small-"))
    folder.chmod(0o755)
    for disk, size in SIZES.items():
        (folder / disk).mkdir(parents=True)
        options = f"size={size},mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder / disk], check=True)
    disks = SmallDisks(folder, cache_dir)
    try:
        disks.cluster.start()
        yield disks
    finally:
        disks.cluster.stop()
        for disk in SIZES:
            subprocess.run(["umount", folder / disk], check=True)
        shutil.rmtree(folder)


def test_at_a_worker(disks: SmallDisks) -> None:
    with disks.full(BOXES):
        answer = disks.cluster.answer({"files": [{"name": "a", "content": "a" * 100_000}], "run": "cat a"})
    assert answer["outcome"] in {"ok", "internal_error"}, answer
    if answer["outcome"] == "internal_error":
        assert "No space left on device" in answer["error"]
    assert disks.cluster.answer({"run": "echo again"})["run"][0]["stdout"] == "again\n"


def test_at_a_cache_builder(disks: SmallDisks) -> None:
    request = {"run": "echo 6*7 | bc", "dependencies": {"packages": ["bc"]}}
    with disks.full(CACHE):
        answer = disks.cluster.answer(request)
    assert answer["outcome"] == "internal_error", answer
    assert "No space left on device" in answer["error"]

    def again() -> bool:  # the failure was ours: it is remembered for ten seconds only
        return bool(disks.cluster.answer(request)["outcome"] == "ok")

    eventually(again, "it can be built", ANSWER_S)
