"""A system starts from a copy of its data folder that examples/operate/backup.sh made."""

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.support.roles import role_environment
from tests.system.cluster.running import ANSWER_S, Cluster

pytestmark = [pytest.mark.xdist_group("backup"), pytest.mark.timeout(900)]  # each test starts two systems

BACKUP = Path(__file__).parents[3] / "examples" / "operate" / "backup.sh"
COPY_S = 60.0
MADE_AGAIN = {"views", "faust", "nix", "root", "run"}
CALCULATOR = {"dependencies": {"packages": ["bc"]}}


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="envicutor-backup-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def started(folder: Path, cache_dir: Path, *options: str) -> Iterator[Cluster]:
    folder.mkdir(exist_ok=True)
    cluster = Cluster(folder, cache_dir, *options, settings={"WEBHOOK_ALLOW": ["127.0.0.1:9"]})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def back_up(data: Path, backup: Path) -> None:
    subprocess.run([BACKUP, data, backup], check=True, timeout=COPY_S)


def restore(backup: Path, folder: Path) -> None:
    """As docs/operate.md has it; ports that were chosen may be taken by now."""
    folder.mkdir()
    shutil.copystat(backup.parent, folder)
    subprocess.run(["cp", "--archive", backup, folder / "data"], check=True)
    (folder / "data").chmod(0o711)
    for port in (folder / "data").glob("kafka*/port"):
        port.unlink()


def command(cluster: Cluster, *arguments: str) -> str:
    environment = role_environment(cluster.kafka, server=str(cluster.http.base_url))
    argv = [sys.executable, "-m", "infra.cli", *arguments]
    done = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True, timeout=ANSWER_S)
    return done.stdout


def assert_clean(cluster: Cluster) -> None:
    verified = cluster.verify()
    assert verified.returncode == 0, verified.stdout
    assert "is sealed before offset" in verified.stdout


def test_a_system_starts_from_a_copy_of_what_cannot_be_made_again(folder: Path, cache_dir: Path) -> None:
    with started(folder / "first", cache_dir) as first:
        command(first, "keys", "create", "course")
        keys = command(first, "keys", "list")
        answer = first.answer(CALCULATOR | {"run": "echo 6*7 | bc"})
        assert first.stored(answer["id"]).final
    data = folder / "first" / "data"
    back_up(data, folder / "backup")
    copied = {path.name for path in (folder / "backup").iterdir()}
    assert copied == {"kafka", "sealer", "secrets"}
    assert copied | MADE_AGAIN == {path.name for path in data.iterdir()}
    shutil.rmtree(data)

    restore(folder / "backup", folder / "second")
    with started(folder / "second", cache_dir) as second:
        assert second.get(answer["id"]) == answer
        assert command(second, "keys", "list") == keys != ""
        [environment] = [
            line
            for line in command(second, "dependencies", "list").splitlines()
            if answer["dependencies"]["id"] in line
        ]
        assert "bc" in environment
        again = second.answer(CALCULATOR | {"run": "echo 6*8 | bc"})
        assert (again["outcome"], again["run"][0]["stdout"]) == ("ok", "48\n")
        assert_clean(second)


class Submitting:
    """A client that submits one program after the other, in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self.accepted: list[str] = []
        self._cluster, self._over = cluster, threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> "Submitting":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _submit(self) -> None:
        while not self._over.is_set():
            answer = self._cluster.post({"run": "echo done"})
            if answer.status_code == 202:
                self.accepted.append(answer.json()["id"])


@pytest.mark.soak
@pytest.mark.parametrize("brokers", ["1", "3"])
def test_a_system_starts_from_a_copy_that_was_made_under_load(
    brokers: str, folder: Path, cache_dir: Path
) -> None:
    options = ("--brokers", brokers)
    finished: dict[str, dict[str, Any]] = {}
    with started(folder / "first", cache_dir, *options) as first, Submitting(first) as client:
        eventually(lambda: len(client.accepted) >= 50, "some are accepted", ANSWER_S)
        for id in client.accepted[:20]:
            finished[id] = first.finished(id)
        accepted = list(client.accepted)
        back_up(folder / "first" / "data", folder / "backup")
        after = len(client.accepted)
        eventually(lambda: len(client.accepted) >= after + 20, "the system goes on", ANSWER_S)
        last = client.accepted[-1]
        assert first.finished(last)["outcome"] == "ok"
        eventually(lambda: first.http.get("/ready").is_success, "it is ready", ANSWER_S)
        assert_clean(first)

    restore(folder / "backup", folder / "second")
    with started(folder / "second", cache_dir, *options) as second:
        assert {id: second.get(id) for id in finished} == finished
        assert {second.finished(id)["outcome"] for id in accepted} == {"ok"}
        assert second.http.get(f"/submissions/{last}").status_code == 404, "it is of after the copy"
        assert_clean(second)
