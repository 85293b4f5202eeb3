"""The pool of downloaded archives.

The pool makes builds repeatable: an archive that was used once is kept after the distribution dropped it.

SHA256.deb      an archive of Debian, verified before it is added; its mtime is the time of its last use
HASH.pypi, .npm archives of other registries, likewise
.build-*/       links to the archives that one build needs
"""

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nix import apt, locks
from nix.disk_usage import allocated_bytes
from nix.errors import CacheError, DependenciesError
from nix.index import Package
from nix.package_set import PackageSet
from nix.progress import Progress, Step
from nix.settings import NixSettings

log = logging.getLogger(__name__)

GONE = (" 404 ", "File not found")
"""Parts of apt's error messages for a file that a repository, on the web or on a disk, does not have."""
YOUNG_S = 60.0
"""Age up to which a build's folder is not swept, since its builder may not have locked it yet."""
KINDS = ("*.deb", "*.pypi", "*.npm")
"""File name patterns of archives: those of Debian and of other registries (see nix.registries)."""
CONNECTIONS = 4
"""Processes of apt that download for one build at the same time."""
GROUP_FILES, GROUP_BYTES = 8, 8 << 20
"""Archives that one process of apt downloads: few, since they are unpacked when the last of them is there."""


def pool(settings: NixSettings) -> Path:
    """Return the folder that holds the pool of archives."""
    return settings.cache_dir / "archives"


@contextmanager
def folder_of_a_build(settings: NixSettings) -> Iterator[Path]:
    """Yield a folder for links to the archives of one build, which stay when archives leave the pool.

    The folder is removed afterwards. The next build removes the folders of killed builders.
    """
    archives = pool(settings)
    archives.mkdir(parents=True, exist_ok=True)
    for other in archives.glob(".build-*"):
        _sweep(other)
    folder = Path(tempfile.mkdtemp(prefix=".build-", dir=archives))
    try:
        folder.chmod(0o755)
        with locks.try_shared(folder / "lock"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def fetch(
    packages: Sequence[Package],
    folder: Path,
    package_set: PackageSet,
    settings: NixSettings,
    progress: Progress,
) -> AsyncGenerator[list[Package], None]:
    """Link archives into a build's folder, and yield them as they arrive; those of the pool come first.

    apt, with its proxies and credentials, downloads missing ones, several files at once. A damaged archive of
    the pool is downloaded again.

    Raises:
        DependenciesError: the distribution no longer has an archive.
        CacheError: an archive could not be downloaded.
    """
    pooled = await asyncio.to_thread(
        lambda: [package for package in packages if _link_from_pool(package, folder)]
    )
    if pooled:
        yield pooled
    linked = {package.sha256 for package in pooled}
    missing = [package for package in packages if package.sha256 not in linked]
    if not missing:
        return
    progress(Step("fetching", 0, len(missing)))
    drafts = folder / "drafts"
    drafts.mkdir()
    shutil.chown(drafts, "_apt")  # apt downloads as this unprivileged user
    uris = await _repositories(package_set, settings)
    slots = asyncio.Semaphore(CONNECTIONS)
    tasks = [asyncio.create_task(_download(group, uris, drafts, slots)) for group in _groups(missing, uris)]
    done, lost, complaints = 0, list[Package](), ""
    try:
        for task in asyncio.as_completed(tasks):
            group, output = await task
            accepted = [one for one in group if await asyncio.to_thread(_accept, one, drafts, folder)]
            lost += [one for one in group if one not in accepted]
            complaints += output
            done += len(accepted)
            progress(Step("fetching", done, len(missing)))
            if accepted:
                yield accepted
    finally:
        for pending in tasks:
            pending.cancel()
        await asyncio.wait(tasks)
    await asyncio.to_thread(shutil.rmtree, drafts)
    await asyncio.to_thread(trim, folder.parent, settings.archives_limit_bytes)
    if lost:
        raise _explain(lost, complaints, package_set)


def trim(archives: Path, limit_bytes: int) -> None:
    """Remove the least recently used archives until the pool is within `limit_bytes`."""
    files = []
    for file in (file for kind in KINDS for file in archives.glob(kind)):
        with suppress(FileNotFoundError):  # another builder trims the pool
            status = file.stat()
            files.append((status.st_mtime, allocated_bytes(status), file))
    excess = sum(size for _, size, _ in files) - limit_bytes
    for _, size, file in sorted(files):
        if excess <= 0:
            break
        file.unlink(missing_ok=True)
        excess -= size


def _sweep(folder: Path) -> None:
    """Remove the folder of a build whose builder has ended."""
    with suppress(FileNotFoundError):
        if folder.stat().st_mtime < time.time() - YOUNG_S:
            with locks.try_exclusive(folder / "lock") as abandoned:
                if abandoned:
                    shutil.rmtree(folder, ignore_errors=True)


def _link_from_pool(package: Package, folder: Path) -> bool:
    """Link an archive from the pool; return False if it is missing. A damaged one is removed."""
    pooled, linked = folder.parent / _file(package), folder / _file(package)
    try:
        os.link(pooled, linked)
    except FileNotFoundError:
        return False
    if not _intact(linked, package):
        log.warning("removing the damaged archive %s", pooled)
        pooled.unlink(missing_ok=True)
        linked.unlink()
        return False
    os.utime(linked)
    return True


def _file(package: Package) -> str:
    return f"{package.sha256}.deb"


def _groups(packages: Iterable[Package], uris: Mapping[str, str]) -> list[list[Package]]:
    """Return packages in groups that one process of apt downloads, the largest archives first.

    Raises:
        CacheError: apt on this host has no source for a package.
    """
    groups: list[list[Package]] = []
    size = GROUP_BYTES
    for package in sorted(packages, key=lambda package: -package.archive_bytes):
        if package.repository not in uris:
            raise CacheError(f"apt on this host has no source for {package.repository}")
        if size + package.archive_bytes > GROUP_BYTES or len(groups[-1]) == GROUP_FILES:
            groups.append([])
            size = 0
        groups[-1].append(package)
        size += package.archive_bytes
    return groups


async def _download(
    group: list[Package], uris: Mapping[str, str], drafts: Path, slots: asyncio.Semaphore
) -> tuple[list[Package], str]:
    """Download archives within a slot; return them with the output of apt."""
    arguments: list[str] = []
    for package in group:
        uri = uris[package.repository] + package.filename
        arguments += [uri, str(drafts / _file(package)), f"SHA256:{package.sha256}"]
    async with slots:
        return group, await _run(apt.HELPER, "-q", "download-file", *arguments)


def _accept(package: Package, drafts: Path, folder: Path) -> bool:
    """Move an intact archive to the pool and link it into the build's folder; return whether it is intact."""
    draft = drafts / _file(package)
    if not _intact(draft, package):
        return False
    os.chown(draft, 0, 0)
    draft.chmod(0o644)
    os.utime(draft)  # apt sets the distribution's mtime
    os.link(draft, folder / draft.name)
    draft.rename(folder.parent / draft.name)
    return True


def _intact(archive: Path, package: Package) -> bool:
    """Return whether the archive exists and has the digest of `package`."""
    try:
        with archive.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == package.sha256
    except FileNotFoundError:
        return False


def _explain(lost: list[Package], complaints: str, package_set: PackageSet) -> Exception:
    names = ", ".join(f"{package.name} {package.version}" for package in lost)
    if any(words in complaints for words in GONE):
        return DependenciesError(
            f"{names}: no longer in the distribution, whose packages of {package_set.date} were asked for"
        )
    return CacheError(f"{names}: could not be fetched: {complaints[-2000:]}")


async def _repositories(package_set: PackageSet, settings: NixSettings) -> dict[str, str]:
    """Return the address of each repository that the package set's apt has as a source.

    Raises:
        CacheError: it has none, or cannot reach them.
    """
    return await asyncio.to_thread(apt.repositories, settings, package_set.name)


async def _run(*argv: str) -> str:
    """Run a command of apt and return its output; the command is killed if the caller is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace")
