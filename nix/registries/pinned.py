"""The pinned packages of one environment, from the request's names to the tar that its build adds."""

import re
from collections.abc import Sequence
from pathlib import Path

from nix.artifacts import Registry, ResolvedArtifact, address_of, check, switched_off
from nix.contents import Contents
from nix.deadline import Deadline
from nix.dependencies import Pinned
from nix.errors import DependenciesError
from nix.index import Package
from nix.progress import Progress, Step
from nix.registries import npm, obtain, pypi
from nix.registries.sandbox import Registries

__all__ = ["check", "layer", "needed", "resolve"]

RUNTIMES: dict[Registry, tuple[str, ...]] = {"pypi": ("python3", "libstdc++6"), "npm": ("nodejs",)}
"""Debian packages that run the packages of each registry; wheels presuppose the C++ library."""


def needed(pinned: Pinned) -> list[str]:
    """Return the names of the Debian packages that pinned packages need to run."""
    return [name for registry, names in RUNTIMES.items() if getattr(pinned, registry) for name in names]


async def resolve(
    pinned: Pinned,
    packages: Sequence[Package],
    registries: Registries,
    deadline: Deadline,
    progress: Progress,
) -> tuple[ResolvedArtifact, ...]:
    """Return the archives of pinned packages and of all their dependencies.

    `packages` are the Debian packages of the same environment, with its python3.

    Raises:
        TransientError: the operator has not configured the registry or a host, or the cause is unknown.
        DependenciesError: the packages cannot be resolved.
        LimitError: a resolution hit a limit.
        CacheError: a registry failed.
    """
    for registry in RUNTIMES:
        if getattr(pinned, registry) and not address_of(registries.settings, registry):
            raise switched_off(registry)
    found: list[ResolvedArtifact] = []
    if pinned.pypi or pinned.npm:
        progress(Step("resolving"))
    if pinned.pypi:
        found += await pypi.resolve(pinned.pypi, _python_version(packages), registries, deadline)
    if pinned.npm:
        found += await npm.resolve(pinned.npm, registries, deadline)
    return tuple(found)


async def layer(
    contents: Contents,
    folder: Path,
    registries: Registries,
    deadline: Deadline,
    progress: Progress,
) -> str:
    """Write `layer.tar` into a build's folder and return its sha256, empty if no package is pinned.

    Raises:
        DependenciesError: an archive is gone or not acceptable; the message names the reason.
        LimitError: the archives hit a limit.
        CacheError: fetching or unpacking failed for another reason.
    """
    if not contents.artifacts:
        return ""
    async with deadline.step("fetching the packages"):
        await obtain.fetch(contents.artifacts, folder, registries, deadline, progress)
    version = _python_version(contents.packages) if contents.artifacts[0].registry == "pypi" else ""
    return await obtain.unpack(contents.artifacts, folder, version, registries, deadline)


def _python_version(packages: Sequence[Package]) -> str:
    """Return the version of the environment's Python, such as 3.11."""
    (python,) = [package for package in packages if package.name == "python3"]
    found = re.match(r"[0-9]+\.[0-9]+", python.version)
    if not found:
        raise DependenciesError(f"the environment's python3 has an unknown version {python.version!r}")
    return found[0]
