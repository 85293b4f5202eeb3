"""PyPI: resolution of pinned packages to wheels of them and of their dependencies, by pip."""

import asyncio
import json
import re
from collections.abc import Sequence

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from nix.artifacts import ResolvedArtifact
from nix.deadline import Deadline
from nix.errors import CacheError, DependenciesError, TransientError
from nix.registries.answers import ProgramAnswer, Text
from nix.registries.relay import Relay
from nix.registries.sandbox import Registries, ask, pip

INDEX_FAILURES = (
    "Retrying (",
    "CERTIFICATE_VERIFY_FAILED",
    "SSLError",
    "Max retries exceeded",
    "HTTP error 5",
)
"""Texts in pip's messages when the network or the index fails."""
YANKED = re.compile(r"yanked version: '([^']+)'.*?\nReason for being yanked: ([^\n]*)", re.DOTALL)
ONLY_WHEELS = "only wheels that the index lists are installed"
"""Text in the messages of `inside.wheels_only` when it refuses a requirement."""
SHOWN = 5
"""Most versions or files that one error message lists."""


class Wheel(ProgramAnswer):
    """Wheel that pip would install, from its installation report."""

    name: Text
    version: Text
    url: Text
    sha256: Text | None
    yanked: bool


class Missing(ProgramAnswer):
    """Requirement for which pip found no candidate."""

    name: Text
    files: list[str] | None
    """File names that the index lists for the name; None if the index does not have the name."""


class PypiResolution(ProgramAnswer):
    """Output of the program `inside.resolve_pypi` for a set of pins."""

    exit_code: int
    messages: str
    python_version: str = ""
    artifacts: tuple[Wheel, ...] = ()
    missing: Missing | None = None
    fault: str = ""


async def resolve(
    pins: Sequence[str], python_version: str, registries: Registries, deadline: Deadline
) -> list[ResolvedArtifact]:
    """Return the wheels of pinned packages and all their dependencies, sorted by name.

    `python_version` is the environment's, such as 3.11.

    Raises:
        DependenciesError: the packages cannot be resolved.
        TransientError: the host has another version of Python, something is on a host that is not configured,
            or the index refuses to list its files.
        LimitError: the resolution hit a limit.
        CacheError: the index failed.
    """
    settings = registries.settings
    arguments = [settings.pypi_index, *pins]
    tools = {"/tools/pip": await asyncio.to_thread(pip, settings)}
    found, relay = await ask(registries, "pypi", arguments, PypiResolution, deadline=deadline, mounts=tools)
    check_python(found.python_version, python_version)
    if found.exit_code != 0:
        raise explain(found, python_version, relay)
    return artifacts(found)


def check_python(host: str, environment: str) -> None:
    """Accept an environment whose Python has the version of this host's, such as 3.11.

    Raises:
        TransientError: they differ, so that pip would choose other wheels.
    """
    if host != environment:
        raise TransientError(
            f"packages of PyPI cannot be installed for the package set's Python {environment}: the cache "
            f"builder has Python {host}, and only the same version can decide which wheels fit. Request a "
            f"`package_set` with Python {host}, or Debian's own packages, such as python3-numpy"
        )


def artifacts(found: PypiResolution) -> list[ResolvedArtifact]:
    """Return the wheels that pip would install.

    Raises:
        DependenciesError: a wheel was withdrawn (yanked).
        CacheError: pip named no wheel.
    """
    if not found.artifacts:
        raise CacheError("pip succeeded and named no wheel")
    reasons = {_plain(name): why for name, why in YANKED.findall(found.messages)}
    for wheel in found.artifacts:
        if wheel.yanked:
            why = reasons.get(_plain(wheel.name), "no reason is given")
            raise DependenciesError(
                f"{wheel.name}=={wheel.version} was withdrawn (yanked) by its publisher: {why}"
            )
    return sorted(
        (
            ResolvedArtifact(
                "pypi",
                wheel.name,
                wheel.version,
                wheel.url.partition("#")[0],
                f"sha256:{wheel.sha256}" if wheel.sha256 else "",
            )
            for wheel in found.artifacts
        ),
        key=lambda artifact: artifact.name.lower(),
    )


def explain(found: PypiResolution, python_version: str, relay: Relay) -> Exception:
    """Return the error for a failed run of pip: of the index, of the pins, or of unknown cause."""
    messages = found.messages
    if relay.faults:
        return CacheError(f"the index of PyPI packages cannot be reached: {relay.faults[-1]}")
    if relay.refused:
        return _elsewhere(relay.refused[-1])
    if ONLY_WHEELS in messages:  # first, since a hostile address may contain the other texts
        return DependenciesError(_errors_of(messages))
    if any(words in messages for words in INDEX_FAILURES):
        return CacheError(f"pip could not reach the index: {messages[-2000:]}")
    if found.fault:
        return TransientError(f"the index does not list its files: {found.fault}")
    missing = found.missing
    return DependenciesError(_missing(missing, python_version, messages) if missing else _errors_of(messages))


def _elsewhere(host: str) -> Exception:
    """Return the error for a request to another host than configured ones; `host` is empty if not https."""
    if not host:
        return DependenciesError("something that the packages need has an address that is not https")
    return TransientError(
        f"something that the packages need is on {host}, which is not configured: the operator must set "
        f"ENVICUTOR_PYPI_FILE_HOSTS='{json.dumps([host])}'"
    )


def _missing(missing: Missing, python_version: str, messages: str) -> str:
    name, files = missing.name, missing.files
    if files is None:
        return f"{name}: the index has no package of this name"
    wanted = re.search(rf"requirement {re.escape(name)}(?:\[[^\]]*\])?==([^\s;(]+)", messages, re.IGNORECASE)
    versions = {file: _version(file) for file in files}
    try:
        version = Version(wanted[1]) if wanted else None
    except InvalidVersion:
        version = None
    if version in versions.values():
        shown = ", ".join([file for file in files if versions[file] == version][-SHOWN:])
        return (
            f"{name}=={version} has no wheel for Python {python_version} on this machine, and only wheels "
            f"are installed; it has {shown}"
        )
    known = sorted({version for version in versions.values() if version})
    if version and known:
        return f"{name} has no version {version}; the last are {', '.join(map(str, known[-SHOWN:]))}"
    return _errors_of(messages)


def _version(file: str) -> Version | None:
    """Return the version of a wheel or source archive, None for other files that an index lists."""
    try:
        read = parse_wheel_filename if file.endswith(".whl") else parse_sdist_filename
        return read(file)[1]
    except (InvalidVersion, InvalidWheelFilename, InvalidSdistFilename):
        return None


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _errors_of(messages: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in messages.splitlines() if not line.startswith("WARNING")]
    return "pip: " + "\n".join(line for line in lines if line.strip())[-4000:]
