"""More environments than a Cache has room for, built, used, evicted and built again while submissions run."""

import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import typer

from tests.system.cluster.running import Cluster
from tests.system.nix.archives import Member, deb
from tests.system.nix.repository import repository
from topics.dependencies.facts import FACTS, DependenciesFact, Evicted, Installed, Lost
from topics.fold import Recorded
from topics.kafka.codec import decode, decode_fact
from topics.kafka.scan import read_to_end
from topics.submissions.state import Submission

TOLERANCE = 1.1
"""The most that the Cache may take, in times its limit."""
SIDE_BY_SIDE = 4
"""Submissions that run or wait for their environments at a time."""
AGAIN = 0.3
"""The part of submissions that ask for an environment which was used before, and may have been evicted."""
ANSWER_S = 600.0
SAMPLE_S = 1.0
RUN = "sha256sum < /usr/soak; sleep $SLEEP_S; sha256sum < /usr/soak"
"""Reads all of its environment, uses it for a while, and reads it again."""


def soak(environments: int, limit_bytes: int, clients: int) -> list[str]:
    """Run it; what was not as promised. Prints what was seen."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-soak-"))
    folder.chmod(0o755)
    try:
        with repository(folder / "repository", beside_the_host_s=True) as served:
            digests: dict[str, str] = {}
            served.publish(_packages(environments, limit_bytes, digests))
            os.environ.update(served.environment)
            complaints = _on_a_cluster(folder, environments, limit_bytes, clients, digests)
    finally:
        shutil.rmtree(folder)
    for complaint in complaints:
        typer.echo(f"NOT AS PROMISED: {complaint}")
    return complaints


def _packages(environments: int, limit_bytes: int, digests: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Packages that have nothing in common, made one by one; together half more than the limit."""
    size = limit_bytes * 3 // 2 // environments
    for name, size_bytes in [*((f"soak-{n}", size) for n in range(environments)), ("soak-once", 1)]:
        content = os.urandom(size_bytes)
        digests[name] = sha256(content).hexdigest()
        yield name, deb([Member("./usr/soak", content)])


def _on_a_cluster(
    folder: Path, environments: int, limit_bytes: int, clients: int, digests: dict[str, str]
) -> list[str]:
    settings = {"CACHE_LIMIT_BYTES": limit_bytes, "ARCHIVES_LIMIT_BYTES": limit_bytes // 2}
    options = ("--workers", "2", "--cache-builders", "2")
    cluster = Cluster(folder / "system", folder / "cache", *options, settings=settings)
    (folder / "system").mkdir()
    try:
        cluster.start()
        load = Load(cluster, digests)
        started = time.monotonic()
        nix_root, cache_dir = folder / "system/data/nix", folder / "cache"
        with measured(nix_root, cache_dir) as largest:
            load.run(environments)
        typer.echo(f"{environments} environments in {time.monotonic() - started:.0f} s")
        facts = _facts(cluster)
        typer.echo(f"said: {dict(Counter(type(fact.fact).__name__ for fact in facts))}")
        complaints = load.complaints + _room(largest, cache_dir / "archives", limit_bytes, facts)
        complaints += _verified(nix_root) + _verified(cache_dir / "trees")
        complaints += _single_flight(cluster, load, clients)
        complaints += _disturbed(cluster)
        verified = cluster.verify()
        return complaints + ([] if verified.returncode == 0 else [verified.stdout])
    finally:
        cluster.stop()


class Load:
    """Clients that see that what they get is what they asked for."""

    def __init__(self, cluster: Cluster, digests: dict[str, str]) -> None:
        self._cluster, self._digests = cluster, digests
        self.complaints: list[str] = []

    def run(self, environments: int) -> None:
        """Each environment once, and some of those before again."""
        names: list[str] = []
        for n in range(environments):
            names.append(f"soak-{n}")
            if random.random() < AGAIN:
                names.append(f"soak-{random.randrange(n + 1)}")
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda name: self._check(name, self._submit(name, sleep_s=2)), names))

    def flood(self, name: str, clients: int) -> None:
        """All of them want the same at once."""
        with ThreadPoolExecutor(16) as pool:
            ids = list(pool.map(lambda _: self._submit(name, sleep_s=0), range(clients)))
        for id in ids:
            self._check(name, id)

    def _submit(self, name: str, sleep_s: int) -> str:
        request = {"dependencies": {"packages": [name]}, "run": RUN, "env": {"SLEEP_S": str(sleep_s)}}
        return self._cluster.submit(request)

    def _check(self, name: str, id: str) -> None:
        answer = self._cluster.finished(id, ANSWER_S)
        if answer["outcome"] != "ok" or answer["run"][0]["stdout"] != f"{self._digests[name]}  -\n" * 2:
            self.complaints.append(f"{name}: {answer}"[:1000])


@contextmanager
def measured(nix_root: Path, cache_dir: Path) -> Iterator[Counter[str]]:
    """Yield the largest sizes in bytes: of the files that have a limit, of the pool, trees and environments.

    Files that environments share with trees count once, as part of the trees.
    """
    limited = {"links": nix_root / "nix/store/.links", "unpacked": cache_dir / "trees/nix/store"}
    whole = {"pool": cache_dir / "archives", "trees": cache_dir / "trees", "environments": nix_root}
    largest: Counter[str] = Counter()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            sizes = disk_space(whole)
            sizes["files"] = disk_space(limited).total()
            sizes["trees and environments"] = sizes["trees"] + sizes["environments"]
            for name, size in sizes.items():
                largest[name] = max(largest[name], size)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield largest
    finally:
        over.set()
        watching.join()


def disk_space(folders: Mapping[str, Path]) -> Counter[str]:
    """Return the disk space of folders by their names; a file that is in two of them counts in the first."""
    command = ["nice", "du", "--summarize", "--block-size=1", *map(str, folders.values())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # files go meanwhile
    taken = {path: int(size) for size, _, path in (line.partition("\t") for line in ran.stdout.splitlines())}
    return Counter({name: taken.get(str(folder), 0) for name, folder in folders.items()})


def _room(
    largest: Counter[str], pool: Path, limit_bytes: int, facts: list[Recorded[DependenciesFact]]
) -> list[str]:
    times = largest["files"] / limit_bytes
    pooled = sum(file.stat().st_size for file in pool.glob("*.deb"))
    typer.echo(f"the Cache's files took {times:.3f} of the limit at most, {pooled >> 20} MiB are in the pool")
    both = largest["trees and environments"] / limit_bytes
    typer.echo(f"with folders, database and work it took {both:.3f} of the limit")
    most = (f"{name} {largest[name] >> 20} MiB" for name in ("pool", "trees", "environments"))
    typer.echo(f"at most, each by itself: {', '.join(most)}")
    complaints = [f"the Cache took {times:.3f} of its limit"] if times > TOLERANCE else []
    if pooled > limit_bytes // 2 * TOLERANCE:
        complaints.append(f"the pool took {pooled} bytes")
    if not any(isinstance(fact.fact, Evicted) for fact in facts):
        complaints.append("nothing was evicted")
    if any(isinstance(fact.fact, Lost) for fact in facts):
        complaints.append("something was lost")
    return complaints


def _verified(root: Path) -> list[str]:
    command = ["nix-store", "--store", f"local?root={root}", "--verify", "--check-contents"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    bad = [line for line in ran.stderr.splitlines() if "error" in line or "modified" in line]
    typer.echo(f"nix-store --verify --check-contents in {root.name}: {bad or 'clean'}")
    return bad if ran.returncode == 0 else [*bad, f"nix-store --verify ended with {ran.returncode}"]


def _single_flight(cluster: Cluster, load: Load, clients: int) -> list[str]:
    before = Counter(type(fact.fact) for fact in _facts(cluster))
    started = time.monotonic()
    load.flood("soak-once", clients)
    said = Counter(type(fact.fact) for fact in _facts(cluster)) - before
    typer.echo(f"{clients} submissions, {said[Installed]} build, {time.monotonic() - started:.0f} s")
    return [] if said[Installed] == 1 else [f"{said[Installed]} builds for one environment"]


def _disturbed(cluster: Cluster) -> list[str]:
    """Submissions that were not answered by their first attempt."""
    latest: dict[Any, Submission] = {}
    for message in read_to_end(cluster.kafka, cluster.topics.submissions.store.name):
        latest[message.key()] = decode(Submission, message.value())
    again = [f"{one.id}: {one.ended_attempts}" for one in latest.values() if one.ended_attempts]
    typer.echo(f"{len(latest)} submissions, {len(again)} of them needed another attempt")
    return again


def _facts(cluster: Cluster) -> list[Recorded[DependenciesFact]]:
    messages = read_to_end(cluster.kafka, cluster.topics.dependencies.events.name)
    return [decode_fact(message, FACTS) for message in messages]
