"""A cluster, a load, faults; then everything must be as promised, and nothing be left."""

import argparse
import asyncio
import itertools
import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import typer

from infra.settings import LocalSettings
from tests.chaos.checks import leftovers, unfinished, wrong
from tests.chaos.dispatch import kill_between_records
from tests.chaos.faults import KINDS, Fault, Faults, wait_whole
from tests.chaos.load import Accepted, Clients
from tests.chaos.log import Log, read_log, read_store
from tests.chaos.poison import kill_whoever_runs_poison
from tests.chaos.recovery import recoveries
from tests.chaos.submissions import submissions
from tests.support.polling import eventually
from tests.system.cluster.running import Cluster

WORKERS = [f"worker-{n}" for n in range(3)]
TARGETS = [
    *WORKERS,
    *(f"{role}-{n}" for role in ("cache-builder", "submission-store", "build-store") for n in range(2)),
    *(f"health-checker-{n}" for n in range(2)),
    "request-handler-0",
    "ingest-0",
    *(f"broker-{n}" for n in range(3)),
]
OPTIONS = (
    *("--workers", "3", "--cache-builders", "2"),
    *("--store-processors", "2", "--health-checkers", "2", "--brokers", "3"),
)
SETTINGS = {"ALLOWED_ATTEMPTS": 100}
"""Honest submissions lose as many workers as it comes."""
UIDS = 10_000
"""More than all boxes of the cluster have."""
BETWEEN_SUBMISSIONS_S = 0.4
WAVE = 20
"""Submissions after which the queue becomes empty, with `--between`."""
QUEUE_EMPTY_S = 30.0
SETTLE_S = 240.0
"""Ten times what the last lease that expires takes, with all that follows."""


@dataclass
class Run:
    """What a run leaves to be judged."""

    faults: list[Fault]
    accepted: Accepted
    complaints: list[str]
    log: Log
    settled_s: float


def main() -> int:
    """Exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=60.0, help="of the faults, in seconds")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of faults, separated by commas")
    parser.add_argument("--between", action="store_true", help="kill ingest within dispatches as well")
    parser.add_argument("--roles", default="", help="which have faults; all by default")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="envicutor-chaos-"))
    folder.chmod(0o755)
    cluster = Cluster(folder, LocalSettings().cache_dir, *OPTIONS, settings=SETTINGS)
    targets = [t for t in TARGETS if not arguments.roles or t.rsplit("-", 1)[0] in arguments.roles.split(",")]
    faults = Faults(cluster, arguments.seed, targets, arguments.kinds.split(","))
    complaints = ["it did not come to an end"]
    try:
        cluster.start()
        run = asyncio.run(
            chaos(cluster, arguments.seed, arguments.duration, faults, between=arguments.between)
        )
        stopped_s = cluster.stop()
        complaints = [*run.complaints, *leftovers(folder, range(cluster.first_uid, cluster.first_uid + UIDS))]
        tell(run, faults, stopped_s)
    finally:
        with suppress(Exception):
            cluster.stop()
        if complaints:
            typer.echo("\n".join(complaints[:50]))
            typer.echo(f"FAILED with seed {arguments.seed}; its logs: {keep_logs(folder, arguments.seed)}")
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if complaints else 0


async def chaos(
    cluster: Cluster, seed: str, duration_s: float, faults: Faults, *, between: bool = False
) -> Run:
    """Load and faults at once for a while, then the load's end without faults, then the verdict."""
    first = cluster.answer({"run": "true"})["id"]
    # The answer may be there before the store has any row.
    row = eventually(lambda: read_store(cluster).get(first), "a row of the first submission")
    package_set = row.package_set
    clients = Clients(str(cluster.http.base_url), cluster.kafka, cluster.topics, package_set)
    poisoning = asyncio.create_task(kill_whoever_runs_poison(cluster, WORKERS, faults.happened))
    complaints: list[str] = []
    killing = asyncio.create_task(kill_between_records(cluster, seed, faults.happened)) if between else None
    try:
        wave = WAVE if between else None
        complaints += await load(clients, seed, duration_s, faults, wave)
        if killing:
            if killing.done() or not any(fault.kind == "between" for fault in faults.happened):
                complaints.append(f"ingest was not killed within a dispatch: {killing}")
            killing.cancel()
        began = time.monotonic()
        complaints += await settle(cluster, clients.accepted)
        settled_s = time.monotonic() - began
    finally:
        if poisoning.done():
            complaints.append(f"nobody was poisoned any more: {poisoning.exception()!r}")
        poisoning.cancel()
        await clients.close()
    await asyncio.to_thread(wait_whole, cluster)
    log = read_log(cluster)
    audit = cluster.verify()
    if audit.returncode != 0:
        complaints.append(audit.stdout + audit.stderr)
    complaints += wrong(log, clients.accepted, faults.happened, socket.gethostname())
    return Run(faults.happened, clients.accepted, complaints, log, settled_s)


async def load(clients: Clients, seed: str, duration_s: float, faults: Faults, wave: int | None) -> list[str]:
    """Submit until `duration_s`, and return what went wrong for clients.

    With `wave`, clients wait after so many submissions until none is queued: ingest dispatches nothing
    directly while something waits, and under faults something waits all the time.
    """
    inflicting = asyncio.create_task(faults.inflict())
    handling: list[asyncio.Task[None]] = []
    deadline = time.monotonic() + duration_s
    for number, planned in enumerate(submissions(seed), 1):
        handling.append(asyncio.create_task(clients.handle(planned)))
        await asyncio.sleep(BETWEEN_SUBMISSIONS_S)
        if wave and number % wave == 0:
            await clients.wait_for_empty_queue(QUEUE_EMPTY_S)
        if time.monotonic() > deadline or inflicting.done():
            break
    ended_early = inflicting.done()
    inflicting.cancel()
    with suppress(asyncio.CancelledError):
        await inflicting
    results = await asyncio.gather(*handling, return_exceptions=True)
    complaints = [repr(result) for result in results if isinstance(result, BaseException)]
    return ["the faults ended by themselves", *complaints] if ended_early else complaints


async def settle(cluster: Cluster, accepted: Accepted) -> list[str]:
    """Wait until everything is over; what is not in the end."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        stuck = unfinished(await asyncio.to_thread(read_store, cluster), accepted)
        if not stuck:
            return []
        if time.monotonic() > deadline:
            return [f"{id} is not over {SETTLE_S} s after the last fault" for id in stuck]
        await asyncio.sleep(1)


def tell(run: Run, faults: Faults, stopped_s: float) -> None:
    """The numbers."""
    kinds = sorted(faults.counts.items())
    typer.echo(f"{len(run.faults)} faults: " + ", ".join(f"{what} {count}" for what, count in kinds))
    planned = run.accepted.ids.values()
    ways = sorted((one.kind, one.way) for one in planned)
    counted = ", ".join(f"{kind} by {way} {len([*same])}" for (kind, way), same in itertools.groupby(ways))
    typer.echo(f"{len(planned)} submissions checked: {counted}")
    attempts = [state.attempt for state in run.log.store.values()]
    typer.echo(f"attempts of one submission: at most {max(attempts)}, altogether {sum(attempts)}")
    reasons = [ended.reason for state in run.log.store.values() for ended in state.ended_attempts]
    typer.echo(
        f"handed back since the host stood still: {sum('stood still' in reason for reason in reasons)}"
    )
    typer.echo(
        f"answers of HTTP: {dict(run.accepted.answers)}, the slowest after {run.accepted.slowest_s:.1f} s"
    )
    typer.echo(f"all over {run.settled_s:.1f} s after the last fault; stopped in {stopped_s:.1f} s")
    plain = {id for id, one in run.accepted.ids.items() if one.kind in {"plain", "dependencies"}}
    typer.echo("recovery after kill -9 (see tests/chaos/recovery.py)      p50      max    n")
    for role, times in sorted(recoveries(run.log, run.faults, plain, socket.gethostname()).items()):
        typer.echo(f"  {role:52} {median(times):7.1f}s {times[-1]:7.1f}s {len(times):4}")


def keep_logs(folder: Path, seed: str) -> Path:
    """Where a person can look at them."""
    kept = Path("chaos-results") / f"seed-{seed}-{os.getpid()}"
    kept.mkdir(parents=True)
    for log in (folder / "up.log", *folder.glob("data/kafka*/broker/broker.log")):
        if log.exists():
            shutil.copy(log, kept / "-".join(log.relative_to(folder).parts))
    return kept


if __name__ == "__main__":
    sys.exit(main())
