"""Fetching of resolved archives, unless the pool has them, and unpacking of them into one tar."""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import RootModel

from nix import archives
from nix.artifacts import ResolvedArtifact, hosts
from nix.deadline import Deadline
from nix.errors import CacheError, DependenciesError, LimitError
from nix.progress import Progress, Step
from nix.registries.answers import read_answer
from nix.registries.deposit import LIMIT, Deposit
from nix.registries.inside.unpack import REFUSED
from nix.registries.relay import Relay
from nix.registries.sandbox import Registries, run_inside, sockets

LAYER = "layer.tar"
GONE = re.compile(r"HTTP Error 4(?!08|29)")
"""Errors that are permanent: client errors but for 408 (timeout) and 429 (too many requests)."""


class FetchFailures(RootModel[dict[str, str]]):
    """Output of `inside.fetch`: the reason for each failed download, by the archive's hash."""


async def fetch(
    artifacts: Sequence[ResolvedArtifact],
    folder: Path,
    registries: Registries,
    deadline: Deadline,
    progress: Progress,
) -> None:
    """Link archives into a build's folder; fetch those that the pool lacks from the registries.

    Raises:
        DependenciesError: a registry no longer has an archive, or its hash differs.
        LimitError: the archives, or fetching them, hit a limit.
        CacheError: a registry failed.
    """
    wanted = {artifact.hash: artifact for artifact in artifacts}
    missing = [one for one in wanted.values() if not await asyncio.to_thread(_link_from_pool, one, folder)]
    for registry in ("pypi", "npm"):
        those = [artifact for artifact in missing if artifact.registry == registry]
        if those:
            progress(Step("fetching", 0, len(those)))
            await _fetch(those, folder, registries, deadline)


async def _fetch(
    artifacts: Sequence[ResolvedArtifact], folder: Path, registries: Registries, deadline: Deadline
) -> None:
    settings = registries.settings
    relay = Relay(hosts(settings, artifacts[0].registry))
    drafts = folder / "drafts"
    drafts.mkdir(mode=0o700)
    deposit = Deposit(drafts, (artifact.hash for artifact in artifacts), settings.environment_bytes)
    async with sockets(settings, relay, deposit) as served:
        ran = await run_inside(
            registries,
            "fetching the packages",
            "fetch",
            [],
            deadline=deadline,
            served=served,
            mounts={"/ca.pem": settings.registries_ca_file},
            files={"artifacts.json": _json(artifacts)},
        )
    if ran.exit_code != 0:
        raise CacheError(f"fetching failed: {ran.stderr.decode(errors='replace')[-1000:]}")
    failed = read_answer(FetchFailures, ran.stdout).root
    for artifact in artifacts:
        if file := deposit.files.get(artifact.hash):
            await asyncio.to_thread(_keep, file, artifact, folder)
    deposit.remove()
    drafts.rmdir()
    await asyncio.to_thread(archives.trim, folder.parent, settings.archives_limit_bytes)
    lost = [artifact for artifact in artifacts if artifact.hash not in deposit.files]
    if lost:
        raise _explain(lost, failed, deposit, relay)


async def unpack(
    artifacts: Sequence[ResolvedArtifact],
    folder: Path,
    python_version: str,
    registries: Registries,
    deadline: Deadline,
) -> str:
    """Unpack the archives in a build's folder into one tar for /usr/local and return its sha256.

    The tar is `layer.tar` in that folder. Equal archives make equal tars.

    Raises:
        DependenciesError: an archive is not acceptable; the message names the reason.
        LimitError: the content of the archives hit a limit.
        CacheError: unpacking failed for another reason.
    """
    limit_bytes = registries.settings.environment_bytes
    drafts = folder / "drafts"
    drafts.mkdir(mode=0o700)
    # The tar headers and padding of small files may be larger than the files.
    deposit = Deposit(drafts, ["layer"], 2 * limit_bytes)
    async with sockets(registries.settings, deposit=deposit) as served:
        ran = await run_inside(
            registries,
            "unpacking the packages",
            "unpack",
            [python_version, str(limit_bytes)],
            deadline=deadline,
            served=served,
            mounts={"/archives": folder},
            files={"artifacts.json": _json(artifacts)},
        )
    reason = ran.stdout.decode(errors="replace")[-4000:]
    if ran.exit_code == REFUSED:
        raise LimitError(reason) if LIMIT in reason else DependenciesError(reason)
    if ran.signal:
        raise DependenciesError(f"unpacking the packages ended with {ran.signal}")
    if ran.exit_code != 0 or "layer" not in deposit.files:
        why = deposit.refused.get("layer") or ran.stderr.decode(errors="replace")[-1000:]
        raise CacheError(f"unpacking failed: {why}")
    layer = folder / LAYER
    deposit.files["layer"].rename(layer)
    layer.chmod(0o644)
    drafts.rmdir()
    return deposit.hashes["layer"]


def _link_from_pool(artifact: ResolvedArtifact, folder: Path) -> bool:
    """Link an archive from the pool and return True, or return False if the pool lacks it.

    A damaged archive is removed from the pool.
    """
    pooled, linked = folder.parent / artifact.file, folder / artifact.file
    try:
        os.link(pooled, linked)
    except FileNotFoundError:
        return False
    algorithm, _, wanted = artifact.hash.partition(":")
    with linked.open("rb") as file:
        intact = hashlib.file_digest(file, algorithm).hexdigest() == wanted
    if not intact:
        pooled.unlink(missing_ok=True)
        linked.unlink()
        return False
    os.utime(linked)
    return True


def _keep(file: Path, artifact: ResolvedArtifact, folder: Path) -> None:
    """Put a complete archive into the build's folder and the pool."""
    file.chmod(0o644)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    os.link(file, folder / artifact.file)
    file.rename(folder.parent / artifact.file)


def _json(artifacts: Sequence[ResolvedArtifact]) -> bytes:
    values = [asdict(one) | {"file": one.file, "label": one.label} for one in artifacts]
    return json.dumps(values).encode()


def _explain(
    lost: Sequence[ResolvedArtifact], failed: Mapping[str, str], deposit: Deposit, relay: Relay
) -> Exception:
    first = lost[0]
    for artifact in lost:
        if why := deposit.refused.get(artifact.hash):
            if LIMIT in why:
                return LimitError(f"the archives of the packages {why}".replace("it hit", "hit"))
            if failed.get(artifact.hash) == why:
                return DependenciesError(
                    f"{artifact.label}: what {artifact.url} has is not what was promised: {why}"
                )
        if GONE.match(failed.get(artifact.hash, "")):
            return DependenciesError(
                f"{artifact.label}: the registry no longer has it: {failed[artifact.hash]}"
            )
    if relay.faults:
        return CacheError(f"{first.label} could not be fetched: {relay.faults[-1]}")
    return CacheError(f"{first.label} could not be fetched: {failed.get(first.hash, 'it did not come')}")
