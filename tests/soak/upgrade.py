"""A rolling upgrade under load: each role of an earlier version is replaced; nothing may be lost."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import typer

from infra.settings import LocalSettings
from tests.chaos.checks import unfinished, wrong
from tests.chaos.load import Clients
from tests.chaos.log import read_log, read_store
from tests.chaos.submissions import Planned, submissions
from tests.support.polling import eventually
from tests.system.cluster.running import Cluster
from topics.kafka.admin import ensure_topics
from topics.submissions.facts import Requested

OPTIONS = ("--workers", "2", "--store-processors", "2")
ROLES = (
    *("submission-store-0", "submission-store-1", "build-store-0", "build-store-1"),
    *("cache-builder-0", "worker-0", "worker-1"),
    *("health-checker-submissions-0", "health-checker-dependencies-0", "sealer-0"),
    *("request-handler-0", "ingest-0"),
)
"""In the order of docs/operate.md, Upgrading."""
BETWEEN_SUBMISSIONS_S = 0.25
BETWEEN_ROLES_S = 3.0
SETTLE_S = 240.0
AFTERWARDS = 5
"""Submissions one after the other, once no other runs: the load alone may leave no slot free for ingest."""
_SOURCE = Path(__file__).resolve().parents[2]
_PAGE = Path("ingest/page/dist")


def soak(before: str) -> list[str]:
    """Upgrade from the commit `before` to this one; return what was not as promised."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-upgrade-"))
    folder.chmod(0o755)
    code, later = folder / "code", folder / "later"
    for commit, tree in ((before, code), ("HEAD", later)):
        _check_out(commit, tree)
    cluster = Cluster(folder, LocalSettings().cache_dir, *OPTIONS, code=code)
    try:
        cluster.start()
        package_set = cluster.stored(cluster.answer({"run": "true"})["id"]).package_set
        code.rename(folder / "earlier")
        later.rename(code)
        ensure_topics(cluster.kafka, cluster.topics.topics())  # as `envicutor init` does
        return asyncio.run(_upgrade(cluster, package_set))
    finally:
        with suppress(Exception):
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _check_out(commit: str, tree: Path) -> None:
    tree.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=_SOURCE, check=True, capture_output=True)
    subprocess.run(["tar", "--extract", "--directory", str(tree)], input=archive.stdout, check=True)
    shutil.copytree(_SOURCE / _PAGE, tree / _PAGE, dirs_exist_ok=True)


async def _upgrade(cluster: Cluster, package_set: str) -> list[str]:
    clients = Clients(str(cluster.http.base_url), cluster.kafka, cluster.topics, package_set)
    replacing = asyncio.create_task(asyncio.to_thread(_replace_roles, cluster))
    handling: list[asyncio.Task[None]] = []
    for planned in _planned():
        handling.append(asyncio.create_task(clients.handle(planned)))
        await asyncio.sleep(BETWEEN_SUBMISSIONS_S)
        if replacing.done():
            break
    await replacing
    results = await asyncio.gather(*handling, return_exceptions=True)
    complaints = [repr(result) for result in results if isinstance(result, BaseException)]
    deadline = time.monotonic() + SETTLE_S
    while stuck := unfinished(await asyncio.to_thread(read_store, cluster), clients.accepted):
        if time.monotonic() > deadline:
            complaints += [f"{id} is not over" for id in stuck]
            break
        await asyncio.sleep(1)
    await clients.close()
    for _ in range(AFTERWARDS):
        await asyncio.to_thread(cluster.answer, {"run": "true"})
    typer.echo(f"{len(clients.accepted.ids)} submissions over {len(ROLES)} replaced roles")
    audit = await asyncio.to_thread(cluster.verify)
    if audit.returncode != 0:
        complaints.append(audit.stdout + audit.stderr)
    log = read_log(cluster)
    dispatches = Counter(
        event.fact.dispatch for event in log.submissions if isinstance(event.fact, Requested)
    )
    typer.echo(f"requests by dispatch: {dict(dispatches)}")
    if not {None, "turn", "direct"} <= dispatches.keys():
        complaints.append("not both versions of ingest accepted requests, or one had no free slot")
    return complaints + wrong(log, clients.accepted, [], socket.gethostname())


def _planned() -> Iterator[Planned]:
    return (each for each in submissions("upgrade") if each.kind in {"plain", "dependencies"})


def _replace_roles(cluster: Cluster) -> None:
    """End each role, which the supervisor starts again, from the tree of the later version."""
    for role in ROLES:
        time.sleep(BETWEEN_ROLES_S)
        pid = cluster.signal(role, signal.SIGTERM)
        cluster.restarted(role, pid)
    time.sleep(BETWEEN_ROLES_S)
    eventually(cluster.is_ready, "the system is ready", 60)
