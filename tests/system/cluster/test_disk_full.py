"""A host whose disk is full takes no new work, ends what runs, answers questions, and resumes by itself."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, NUMPY, Cluster
from topics.request.limits import MiB

pytestmark = pytest.mark.xdist_group("small disks")

LOG, VIEWS, NIX, BOXES = "data/kafka", "data/views", "data/nix", "sandboxes"
CACHE = "cache"
"""Downloaded and unpacked archives, which are on one file system since there are hard links between them."""
SIZES = {LOG: "512m", VIEWS: "512m", NIX: "1g", CACHE: "768m", BOXES: "128m"}
WATCHED = [LOG, VIEWS, NIX, CACHE]
"""Those for which a request is refused. A full disk of boxes concerns the workers of a host only."""
WATERMARK_BYTES = 100 * MiB
LOW_BYTES = 60 * MiB
"""Space that is too little for new work, and enough for what runs."""
ROLES = (
    "worker-0",
    "cache-builder-0",
    "ingest-0",
    "request-handler-0",
    "submission-store-0",
    "build-store-0",
    "sealer-0",
)


def fill(filler: Path, left_bytes: int) -> bool:
    """Whether so many bytes were left; a role may write meanwhile."""
    with suppress(OSError), filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(filler.parent).free - left_bytes)
        return True
    return False


class SmallDisks:
    """A system on disks that can be filled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.accepted = list[str]()
        """Ids of the requests that were accepted, of which none may be lost."""
        self.cluster = Cluster(
            folder,
            folder / CACHE,
            settings={"DISK_FREE_SHARE": 0, "DISK_FREE_BYTES": WATERMARK_BYTES},
        )

    @contextmanager
    def filled(self, disk: str, left_bytes: int = 0) -> Iterator[Path]:
        """So many bytes are left on it within the context, which gets its folder."""
        folder = self._folder / disk
        filler = folder / "filler"
        try:
            eventually(lambda: fill(filler, left_bytes), "the disk is filled")
            yield folder
        finally:
            filler.unlink()

    def pids(self) -> dict[str, int]:
        return {role: self.cluster.pid(role) for role in ROLES}

    def ends(self) -> Counter[str]:
        """How often each role has ended so far."""
        return Counter(re.findall(r"infra\.supervisor: (\S+) ended with", self.cluster.log.read_text()))

    def refused(self) -> httpx.Response:
        """The answer to a request that is refused for want of space."""

        def posted() -> httpx.Response:
            answer = self.cluster.post({"run": "true"})
            if answer.status_code == 202:
                self.accepted.append(answer.json()["id"])
            return answer

        answer: httpx.Response = eventually(
            posted, "a request is refused", ANSWER_S, enough=lambda answer: answer.status_code == 507
        )
        return answer

    def running(self) -> str:
        """A submission that runs for some seconds; its id."""
        id = self.cluster.submit({"run": "sleep 4; echo ended well"})
        eventually(lambda: self.cluster.get(id)["status"] != "queued", "it runs", ANSWER_S)
        return id

    def resumes(self) -> None:
        """New work runs, without a restart."""

        def accepted() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                return self.cluster.post({"run": "echo again"}, wait="true", wait_timeout_s=ANSWER_S)
            return None

        answer = eventually(
            accepted, "work is accepted", ANSWER_S, enough=lambda answer: answer and answer.is_success
        )
        assert answer.json()["run"][0]["stdout"] == "again\n", answer.text
        while self.accepted:
            assert self.cluster.finished(self.accepted.pop())["outcome"] == "ok"


@pytest.fixture(scope="module")
def disks(cache_dir: Path) -> Iterator[SmallDisks]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-small-"))
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o711)
    mounted = list[Path]()
    try:
        for disk, size in SIZES.items():
            (folder / disk).mkdir(exist_ok=True)
            options = f"size={size},mode=755"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder / disk], check=True)
            mounted.append(folder / disk)
            if disk == CACHE:
                shutil.copytree(cache_dir / "kafka", folder / CACHE / "kafka", symlinks=True)
        disks = SmallDisks(folder)
        try:
            disks.cluster.start()
            yield disks
        finally:
            disks.cluster.stop()
    finally:
        for disk_folder in reversed(mounted):
            subprocess.run(["umount", disk_folder], check=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize("disk", WATCHED)
def test_below_the_watermark(disks: SmallDisks, disk: str) -> None:
    cluster, pids, runs = disks.cluster, disks.pids(), disks.running()
    with disks.filled(disk, LOW_BYTES) as folder:
        problem = disks.refused()
        assert int(problem.headers["Retry-After"]) > 0
        why = f"disk space: {folder} has "
        assert why in problem.json()["detail"], problem.text
        assert "less than the watermark of 100 MiB" in problem.json()["detail"]
        ready = cluster.http.get("/ready")
        assert ready.status_code == 503
        assert why in ready.json()["detail"]
        metrics = cluster.http.get("/metrics").text.splitlines()
        assert "envicutor_disk_short 1.0" in metrics
        assert why in cluster.log.read_text()
        ended = cluster.finished(runs)  # running work ends well, and reading goes on
        assert (ended["outcome"], ended["run"][0]["stdout"]) == ("ok", "ended well\n")
    disks.resumes()
    assert disks.pids() == pids


def test_a_request_on_kafka_is_rejected(disks: SmallDisks) -> None:
    cluster = disks.cluster
    with disks.filled(VIEWS, LOW_BYTES):
        disks.refused()
        producer = Producer({"bootstrap.servers": cluster.kafka.bootstrap_servers})

        def rejected() -> dict[str, Any] | None:  # the request handler looks a moment later than ingest
            id = f"kafka-{time.monotonic_ns()}"
            producer.produce(cluster.topics.requests.name, b'{"run": "true"}', id.encode())
            assert producer.flush(ANSWER_S) == 0
            eventually(lambda: cluster.http.get(f"/submissions/{id}").is_success, "it is handled", ANSWER_S)
            answer = cluster.finished(id)
            assert answer["status"] == "rejected" or answer["outcome"] == "ok", answer
            return answer if answer["status"] == "rejected" else None

        answer: dict[str, Any] = eventually(rejected, "it is rejected", ANSWER_S)
    assert "disk space: " in answer["errors"][0]["message"]
    disks.resumes()


@pytest.mark.parametrize("disk", [VIEWS, NIX, CACHE])
def test_without_a_byte_left(disks: SmallDisks, disk: str) -> None:
    """No role ends. Views show what they had, and the end of what ran once there is room."""
    cluster, pids, runs = disks.cluster, disks.pids(), disks.running()
    with disks.filled(disk):
        disks.refused()
        time.sleep(5)  # what runs ends meanwhile
        assert cluster.get(runs)["id"] == runs
    assert cluster.finished(runs)["run"][0]["stdout"] == "ended well\n"
    disks.resumes()
    assert disks.pids() == pids


def test_without_a_byte_left_for_boxes(disks: SmallDisks) -> None:
    """A request is accepted, and waits for a host with room."""
    cluster, pids, runs = disks.cluster, disks.pids(), disks.running()
    with disks.filled(BOXES) as folder:
        full = f"disk space: {folder} has 0 MiB free"
        eventually(lambda: full in cluster.log.read_text(), "the worker notices", ANSWER_S)
        assert cluster.finished(runs)["run"][0]["stdout"] == "ended well\n"
        waits = cluster.submit({"files": [{"name": "a", "content": "a" * 100_000}], "run": "wc -c < a"})
        time.sleep(1)
        assert cluster.get(waits)["status"] == "queued"
    assert cluster.finished(waits)["run"][0]["stdout"] == "100000\n"
    assert disks.pids() == pids


def test_a_build_for_which_too_little_is_left(disks: SmallDisks) -> None:
    """It begins above the watermark, and the disk is full before it ends."""
    request = {"run": "python3 -c 'import numpy; print(numpy.ones(2).sum())'", "dependencies": NUMPY}
    with disks.filled(NIX, WATERMARK_BYTES + 4 * MiB):
        id = disks.cluster.submit(request)
        no_room = "No space left on device"
        eventually(lambda: no_room in disks.cluster.log.read_text(), "the build fails", ANSWER_S)
    answer = disks.cluster.finished(id)
    if answer["outcome"] != "ok":
        assert answer["outcome"] == "internal_error", answer
        assert no_room in answer["error"]

    def again() -> bool:  # the failure was ours: it is remembered for ten seconds only
        return bool(disks.cluster.answer(request)["outcome"] == "ok")

    eventually(again, "it can be built", ANSWER_S)


def test_without_a_byte_left_for_the_log(disks: SmallDisks) -> None:
    """The broker ends, as Kafka's does, and is started again once there is room.

    A role ends once if its client does not find the broker again (topics/kafka/liveness.py), makes no
    progress (processors/store/watchdog.py) or lost a record under way. This takes up to 20 s, so that the
    test is the last.
    """
    cluster, before, runs = disks.cluster, disks.ends(), disks.running()
    broker = cluster.pid("broker-0")
    with disks.filled(LOG):
        disks.refused()
        waits = "the start of the broker waits"
        eventually(lambda: waits in cluster.log.read_text(), "the broker has ended", ANSWER_S)
        assert cluster.get(runs)["id"] == runs
        assert cluster.pid("broker-0") == broker
    assert cluster.finished(runs)["run"][0]["stdout"] == "ended well\n"
    disks.resumes()
    assert all(number <= 1 for number in (disks.ends() - before).values())
