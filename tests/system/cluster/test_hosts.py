"""A second host: a name, a Nix store and views of its own, and one folder that it shares with the first."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.polling import eventually
from tests.system.cluster.running import ANSWER_S, Cluster
from tests.system.nix.test_binary_cache import make_key
from topics.dependencies.facts import FACTS, DependenciesFact, Installed, Lost, Started
from topics.dependencies.state import EnvironmentState
from topics.kafka.codec import decode, decode_fact
from topics.kafka.scan import read_to_end
from topics.submissions.facts import FACTS as SUBMISSIONS
from topics.submissions.facts import HandedBack

pytestmark = pytest.mark.xdist_group("hosts")

OTHER = "other-host"
BEFORE = "ed"
"""A package that is installed before there is a second host, and a folder that it shares with the first."""
CLIENTS = 50


class Hosts:
    """The cluster, and what its second host has."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder, self.shared = cluster, folder, folder / "shared"
        self.log = folder / "other.log"

    @contextmanager
    def other(self, *roles: str) -> Iterator[None]:
        """Processes on the second host, while the context lasts."""
        settings = {
            "HOST": OTHER,
            "BOOTSTRAP_SERVERS": self.cluster.kafka.bootstrap_servers,
            "DATA_DIR": self.folder / "other",
            "NIX_ROOT": self.folder / "other/nix",
        }
        environment = self.cluster.environment | {f"ENVICUTOR_{k}": str(v) for k, v in settings.items()}
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "infra.cli"]
            processes = [
                subprocess.Popen([*command, role], env=environment, stdout=log, stderr=log) for role in roles
            ]
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(ANSWER_S)

    def run(self, package: str, times: int = 1) -> set[str]:
        """Submit so often at once, see all succeed; the hosts that ran some."""
        request = {"dependencies": {"packages": [package]}, "run": ["sh", "-c", f"command -v {package}"]}
        ids = [self.cluster.submit(request) for _ in range(times)]
        answers = [self.cluster.finished(id) for id in ids]
        assert [answer["outcome"] for answer in answers] == ["ok"] * times, answers
        workers = [str(self.cluster.stored(id).worker) for id in ids]
        return {OTHER if worker.startswith(OTHER) else "first" for worker in workers}

    def run_on_other(self, package: str) -> None:
        eventually(lambda: OTHER in self.run(package, 4), f"{OTHER} runs {package}", ANSWER_S)

    def state(self, package: str) -> EnvironmentState:
        messages = read_to_end(self.cluster.kafka, self.cluster.topics.dependencies.store.name)
        states = (decode(EnvironmentState, message.value()) for message in messages)
        return [state for state in states if state.dependencies.packages == (package,)][-1]

    def facts(self, package: str) -> list[DependenciesFact]:
        id = self.state(package).id
        messages = read_to_end(self.cluster.kafka, self.cluster.topics.dependencies.events.name)
        return [fact.fact for fact in (decode_fact(m, FACTS) for m in messages) if fact.id == id]

    def fetched(self, state: EnvironmentState) -> int:
        return self.log.read_text().count(f"fetched {state.store_path}")

    def narinfo(self, state: EnvironmentState) -> Path:
        return self.shared / f"{Path(str(state.store_path)).name[:32]}.narinfo"


@pytest.fixture(scope="module")
def hosts(cache_dir: Path) -> Iterator[Hosts]:
    assert os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="envicutor-hosts-"))
    folder.chmod(0o755)
    settings = {
        "BINARY_CACHE_DIR": folder / "shared",
        "BINARY_CACHE_PUBLIC_KEY": make_key(folder / "key"),
        "BINARY_CACHE_SECRET_KEY_FILE": folder / "key",
    }
    try:
        with started(Cluster(folder, cache_dir)) as alone:
            assert Hosts(alone, folder).run(BEFORE) == {"first"}
        cluster = Cluster(folder, cache_dir, settings=settings)
        cluster.log = folder / "up-again.log"
        with started(cluster):
            yield Hosts(cluster, folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def started(cluster: Cluster) -> Iterator[Cluster]:
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_a_host_that_joins_runs_what_was_installed_before_there_was_a_binary_cache(hosts: Hosts) -> None:
    assert not hosts.state(BEFORE).published
    assert not list(hosts.shared.glob("*.narinfo"))
    with hosts.other("worker"):
        hosts.run_on_other(BEFORE)
    messages = read_to_end(hosts.cluster.kafka, hosts.cluster.topics.submissions.events.name)
    facts = [decode_fact(message, SUBMISSIONS).fact for message in messages]
    assert [fact for fact in facts if isinstance(fact, HandedBack) and fact.host_fault] == []
    assert hosts.state(BEFORE).published


def test_another_host_fetches_what_it_believes_and_has_the_rest_built_again(hosts: Hosts) -> None:
    for package in ("bc", "file"):
        assert hosts.run(package) == {"first"}
    bc, file = hosts.state("bc"), hosts.state("file")
    assert bc.published
    signature = re.compile(r"^Sig: .*$", re.MULTILINE)
    stolen = signature.search(hosts.narinfo(bc).read_text())
    assert stolen
    forged = signature.sub(stolen[0], hosts.narinfo(file).read_text())
    hosts.narinfo(file).write_text(forged)

    with hosts.other("worker"):
        hosts.run_on_other("bc")
        hosts.run("bc", 8)
        assert hosts.fetched(bc) == 1
        assert (hosts.state("bc").generation, hosts.state("bc").host) == (1, bc.host)

        hosts.run_on_other("file")
        (lost,) = [fact for fact in hosts.facts("file") if isinstance(fact, Lost)]
        assert lost.host == OTHER
        assert "not signed by any of the keys" in lost.reason
        assert hosts.state("file").generation == 2
        assert hosts.narinfo(file).read_text() != forged
        assert hosts.fetched(file) == 1
    assert hosts.cluster.verify().returncode == 0


def test_many_submissions_and_builders_are_one_build_and_a_fetch(hosts: Hosts) -> None:
    with hosts.other("worker", "cache-builder"):
        hosts.run_on_other("bc")
        ran = hosts.run("tree", CLIENTS)
        said = Counter(type(fact) for fact in hosts.facts("tree"))
        assert (said[Started], said[Installed], said[Lost]) == (1, 1, 0)
        builder = hosts.state("tree").host
        assert hosts.fetched(hosts.state("tree")) == (OTHER in ran and builder != OTHER)
