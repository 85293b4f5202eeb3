"""The newest versions of packages of PyPI that requests name without one, from the operator's index.

Only the list of versions is read here. What the packages need is resolved by the build, in the sandbox.
"""

import asyncio
import platform
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import httpx
from packaging.requirements import Requirement

from nix.artifacts import switched_off
from nix.errors import CacheError, DependenciesError
from nix.package_set import open_once
from nix.registries.listing import WheelTarget, installable
from nix.settings import NixSettings

KEPT_S = 600.0
"""Time for which the versions of a project are used again."""
MISSING_S = 60.0
"""Time for which a project that the index does not have is not asked for again."""
FAILED_S = 30.0
"""Time for which an index that failed is not asked again, or for a project if it failed only for this one."""
ANSWER_S = 10.0
"""Longest time that the index may take for the packages of one request."""
CONNECT_S = 5.0
"""Longest time that a project may wait for a connection to the index."""
PROJECTS = 256
"""Projects whose versions are kept."""
CONNECTIONS = 8
PAGE_BYTES = 16 << 20
_WANTED = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_SHOWN = 5
_INDEX = "the index of PyPI packages"
_LATE = f"{_INDEX} did not answer within {ANSWER_S:g} s"


class _IndexFailedError(CacheError):
    """The index failed, and would fail for other projects as well."""


class _Failure(NamedTuple):
    """Reason why a project has no versions.

    An exception that is raised again holds the frames of all that raised it before, with their requests. So
    the reason is kept, and each request has an exception of its own.
    """

    kind: type[CacheError | DependenciesError]
    message: str
    kept_s: float


@dataclass
class _Kept:
    versions: asyncio.Task[tuple[str, ...] | _Failure]
    expires_at: float


class LatestVersions:
    """Resolver of requirements to pins. All calls are made in one event loop."""

    def __init__(self, settings: NixSettings) -> None:
        self._settings = settings
        self._kept: dict[tuple[str, WheelTarget], _Kept] = {}
        self._http: httpx.AsyncClient | None = None
        self._failure: _Failure | None = None
        self._failed_until = 0.0

    async def close(self) -> None:
        """Close the connections to the index."""
        for kept in self._kept.values():
            kept.versions.cancel()
        if self._http is not None:
            await self._http.aclose()

    async def pins(self, requirements: Sequence[str], package_set: str) -> list[str | DependenciesError]:
        """Return the pin of each requirement, or why there is none; pins stay as they are.

        `package_set` is the pin of the package set whose Python runs the packages.

        Raises:
            CacheError: the index did not answer in time, or this host does not have the package set.
        """
        if not self._settings.pypi_index:
            return [switched_off("pypi") for _ in requirements]
        target = await asyncio.to_thread(
            target_of, self._settings.cache_dir, self._settings.binary_cache_dir, package_set
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.gather(*(self._pin(text, target) for text in requirements))
        except TimeoutError:
            raise CacheError(_LATE) from None

    async def _pin(self, text: str, target: WheelTarget) -> str | DependenciesError:
        requirement = Requirement(text)
        only = [*requirement.specifier]
        if len(only) == 1 and only[0].operator == "==" and not only[0].version.endswith("*"):
            return text
        try:
            return pin_of(requirement, await self._versions(requirement.name, target), target)
        except DependenciesError as error:
            return error

    async def _versions(self, name: str, target: WheelTarget) -> tuple[str, ...]:
        """Return the versions of a project that `target` can install, the newest first.

        Raises:
            DependenciesError: the index does not have the project, or lists too much.
            CacheError: the index failed.
        """
        found = await self._found(name, target)
        if isinstance(found, _Failure):
            raise found.kind(found.message)
        return found

    async def _found(self, name: str, target: WheelTarget) -> tuple[str, ...] | _Failure:
        now = time.monotonic()
        kept = self._kept.get((name, target))
        if kept is None or kept.expires_at <= now:
            if self._failure and now < self._failed_until:
                return self._failure
            kept = _Kept(asyncio.create_task(self._ask(name, target)), now + KEPT_S)
            kept.versions.add_done_callback(lambda task: _note(kept, task))
            self._kept.pop((name, target), None)
            self._kept[name, target] = kept
            if len(self._kept) > PROJECTS:
                del self._kept[next(iter(self._kept))]
        return await asyncio.shield(kept.versions)  # others may wait for the same answer

    async def _ask(self, name: str, target: WheelTarget) -> tuple[str, ...] | _Failure:
        address = f"{self._settings.pypi_index.rstrip('/')}/{name}/"
        try:
            async with asyncio.timeout(ANSWER_S):
                page = await self._page(name, address)
            return await asyncio.to_thread(installable, page, target)
        except DependenciesError as error:
            return _Failure(DependenciesError, str(error), MISSING_S)
        except (httpx.HTTPError, OSError, CacheError) as error:
            return self._failure_of(name, error)

    def _failure_of(self, name: str, error: Exception) -> _Failure:
        """Return a failure of the index if it could not be reached or had an error, else of this project.

        A request that names a project with a failure must not delay or fail those of others.
        """
        reason = str(error) or type(error).__name__
        match error:
            case httpx.PoolTimeout():  # other projects were slow, and this one was not asked for
                return _Failure(CacheError, f"{_INDEX} is busy", 0)
            case TimeoutError():
                return _Failure(CacheError, f"{_LATE} for {name}", FAILED_S)
            case _IndexFailedError() | httpx.ConnectError() | httpx.ConnectTimeout() | OSError():
                self._failure = _Failure(CacheError, f"{_INDEX} failed: {reason}", 0)
                self._failed_until = time.monotonic() + FAILED_S
                return self._failure
            case _:
                return _Failure(CacheError, f"{_INDEX} failed for {name}: {reason}", FAILED_S)

    async def _page(self, name: str, address: str) -> bytes:
        if self._http is None:
            context = await asyncio.to_thread(_context, self._settings)
            self._http = self._http or httpx.AsyncClient(
                verify=context,
                trust_env=False,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=CONNECT_S),
                limits=httpx.Limits(max_connections=CONNECTIONS),
                headers={"Accept": _WANTED, "Accept-Encoding": "identity"},  # the bound counts what it sends
            )
        page = bytearray()
        async with self._http.stream("GET", address) as answer:
            if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
                raise DependenciesError(f"{name}: the index has no package of this name")
            if answer.is_server_error:
                raise _IndexFailedError(f"it answered {answer.status_code}")
            if answer.status_code != HTTPStatus.OK:
                raise CacheError(f"it answered {answer.status_code}")
            async for piece in answer.aiter_raw():
                page += piece
                if len(page) > PAGE_BYTES:
                    raise DependenciesError(f"{name}: the index lists too many files: give a version")
        return bytes(page)


def _note(kept: _Kept, task: asyncio.Task[tuple[str, ...] | _Failure]) -> None:
    """Ask for a project again soon if there was no answer."""
    if task.cancelled() or task.exception():
        kept.expires_at = 0
    elif isinstance(failure := task.result(), _Failure):
        kept.expires_at = time.monotonic() + failure.kept_s


def pin_of(requirement: Requirement, versions: Sequence[str], target: WheelTarget) -> str:
    """Return the pin of a requirement: the newest of `versions`, sorted in that order, that it allows.

    A pre-release is allowed only if the requirement names one.

    Raises:
        DependenciesError: it allows none of them.
    """
    allowed = requirement.specifier
    found = next(iter(allowed.filter(versions, prereleases=bool(allowed.prereleases))), None)
    if found is None:
        shown = ", ".join(versions[:_SHOWN])
        has = f"; it has {shown}" if shown else ""
        raise DependenciesError(
            f"{requirement}: there is no such version with a wheel for Python {target.python} on this "
            f"machine, and only wheels are installed{has}"
        )
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}=={found}"


@lru_cache(maxsize=8)
def target_of(cache_dir: Path, binary_cache_dir: Path | None, package_set: str) -> WheelTarget:
    """Return what wheels must fit in the environments of a package set; blocks for a second the first time.

    Raises:
        CacheError: this host does not have the package set, or the set has no Python.
    """
    index = open_once(cache_dir, binary_cache_dir, package_set).index
    found: list[str] = []
    for name in ("python3", "libc6"):
        package = index.package(name)
        version = re.match(r"[0-9]+\.[0-9]+(\.[0-9]+)?", package.version) if package else None
        if version is None:
            raise CacheError(f"the package set {package_set} has no {name}")
        found.append(version[0])
    python, glibc = found
    return WheelTarget(python, glibc, platform.machine())


def _context(settings: NixSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(settings.registries_ca_file))
