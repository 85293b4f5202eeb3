"""The pool of downloaded archives: `cache_dir/archives/SHA256.deb`, each verified before it gets there."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from nix.errors import CacheError, DependenciesError
from nix.index import Package
from nix.package_set import APT_HELPER, PackageSet
from nix.settings import NixSettings


def pool(settings: NixSettings) -> Path:
    """Return the folder of the archives."""
    return settings.cache_dir / "archives"


async def fetch(
    packages: Iterable[Package],
    package_set: PackageSet,
    settings: NixSettings,
    progress: Callable[[str], None],
) -> None:
    """Download the archives that the pool lacks, with apt as the client (its proxies, its credentials).

    Raises DependenciesError if the distribution no longer has one, CacheError if the network fails.
    """
    folder = pool(settings)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [package for package in packages if not _has(folder, package)]
    if not missing:
        return
    progress(f"fetching {len(missing)} archives, {sum(p.archive_bytes for p in missing) >> 20} MiB")
    uris = await _repositories()
    drafts = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    try:
        shutil.chown(drafts, "_apt")  # apt drops its privileges to that user
        arguments = [argument for package in missing for argument in _download(package, uris, drafts)]
        complaints = await _run(APT_HELPER, "-q", "download-file", *arguments)
        lost = [
            package for package in missing if not await asyncio.to_thread(_accept, package, drafts, folder)
        ]
    finally:
        shutil.rmtree(drafts)
    if lost:
        raise _explain(lost, complaints, package_set)


def _has(folder: Path, package: Package) -> bool:
    """Say whether the pool has an archive; one of another size was cut short by a crash of the host."""
    try:
        return (folder / f"{package.sha256}.deb").stat().st_size == package.archive_bytes
    except FileNotFoundError:
        return False


def _download(package: Package, uris: dict[str, str], drafts: Path) -> tuple[str, str, str]:
    if package.repository not in uris:
        raise CacheError(f"apt on this host has no source for {package.repository}")
    uri = uris[package.repository] + package.filename
    return uri, str(drafts / f"{package.sha256}.deb"), f"SHA256:{package.sha256}"


def _accept(package: Package, drafts: Path, folder: Path) -> bool:
    """Move a complete archive into the pool; say whether it was one."""
    draft = drafts / f"{package.sha256}.deb"
    try:
        with draft.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != package.sha256:
                return False
    except FileNotFoundError:
        return False
    os.chown(draft, 0, 0)
    draft.chmod(0o644)
    draft.rename(folder / draft.name)
    return True


def _explain(lost: list[Package], complaints: str, package_set: PackageSet) -> Exception:
    names = ", ".join(f"{package.name} {package.version}" for package in lost)
    if " 404 " in complaints:
        return DependenciesError(
            f"{names}: no longer in the distribution, whose packages of {package_set.date} were asked for"
        )
    return CacheError(f"{names}: could not be fetched: {complaints[-2000:]}")


async def _repositories() -> dict[str, str]:
    """Return the address of each repository that apt knows on this host."""
    form = "$(CODENAME)/$(COMPONENT) $(REPO_URI)"
    lines = (await _run("apt-get", "indextargets", "--format", form, "Created-By: Packages")).splitlines()
    return dict(line.split(" ", 1) for line in lines)


async def _run(*argv: str) -> str:
    """Run a command of apt's, return what it printed; it does not outlive the caller."""
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
