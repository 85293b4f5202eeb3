"""npm: resolution of pinned packages to archives of them and of their dependencies, by npm's lock file."""

import platform
import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from nix.artifacts import ResolvedArtifact, hash_of
from nix.deadline import Deadline
from nix.errors import CacheError, DependenciesError, TransientError
from nix.registries.answers import ProgramAnswer, Text
from nix.registries.relay import Relay
from nix.registries.sandbox import Registries, ask

CODE = re.compile(r"^npm (?:error|ERR!) code (\S+)", re.MULTILINE)
ERROR_TEXT = re.compile(
    r"^npm (?:error|ERR!)(?! code | errno | A complete log) ?(?:(?:[0-9]{3}|notarget|network)\b ?)?(.*)$",
    re.MULTILINE,
)
"""Text of each error line without its prefix: `npm error 404 Not Found`, `npm error notarget No …`."""
PACKAGE_ERRORS = {
    "E404",
    "ETARGET",
    "ENOVERSIONS",
    "ERESOLVE",
    "EBADPLATFORM",
    "EINVALIDPACKAGENAME",
    "EINTEGRITY",
}
"""Codes of errors that the requested packages cause."""
ADDRESS = "EALLOW"
"""Prefix of npm's codes for dependencies named by an address, which `inside.resolve_npm` does not allow."""
REGISTRY_ERRORS = re.compile(
    r"E5\d\d|E429|ECONN\w+|EHOST\w+|ENETUNREACH|ENOTFOUND|EAI_AGAIN|E\w*TIMEDOUT"
    r"|\w*(CERT|SIGN|SSL|VERIFY)\w*"
)
"""Codes of errors of the registry, or of the network. Codes in neither set may have either cause."""
_CPU = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "")
PLATFORM = {"os": "linux", "cpu": _CPU, "libc": "glibc"}
"""Platform of this machine, in the terms of the fields `os`, `cpu` and `libc` of package.json."""


class LockEntry(ProgramAnswer):
    """Entry of a package-lock.json, with the field names of npm."""

    name: Text = ""
    version: Text = ""
    resolved: Text = ""
    integrity: Text = ""
    os: list[Text] | Text = ""
    cpu: list[Text] | Text = ""
    libc: list[Text] | Text = ""
    link: bool = False
    inBundle: bool = False  # noqa: N815 - npm's name


class NpmResolution(ProgramAnswer):
    """Output of the program `inside.resolve_npm` for a set of pins."""

    exit_code: int
    messages: str
    packages: dict[Text, LockEntry] = Field(default_factory=dict)
    """Entries by place, such as `node_modules/a`; the root package has the empty place."""


async def resolve(pins: Sequence[str], registries: Registries, deadline: Deadline) -> list[ResolvedArtifact]:
    """Return the archives of pinned packages and all their dependencies, sorted by place.

    Raises:
        DependenciesError: the packages cannot be resolved.
        TransientError: npm failed with a code of neither `PACKAGE_ERRORS` nor `REGISTRY_ERRORS`.
        LimitError: the resolution hit a limit.
        CacheError: the registry failed.
    """
    arguments = [registries.settings.npm_registry, *pins]
    found, relay = await ask(registries, "npm", arguments, NpmResolution, deadline=deadline)
    if found.exit_code != 0:
        raise explain(found.messages, relay)
    return artifacts(found.packages)


def artifacts(packages: Mapping[str, LockEntry]) -> list[ResolvedArtifact]:
    """Return the archives that the entries of a lock file name, without those for other platforms.

    Raises:
        DependenciesError: a package does not come from the registry.
        CacheError: there are no entries.
    """
    if not any(packages):
        raise CacheError("npm succeeded and named no package")
    found = []
    for place, entry in sorted(packages.items()):
        # The root is this project's own package.json. A bundled package is part of another's archive.
        if not place or entry.inBundle or not _fits(entry):
            continue
        name = entry.name or place.rpartition("node_modules/")[2]
        if entry.link or not entry.resolved.startswith("https://"):
            raise DependenciesError(
                f"{name}@{entry.version}: {entry.resolved!r} is not on the registry that is configured"
            )
        found.append(
            ResolvedArtifact("npm", name, entry.version, entry.resolved, hash_of(entry.integrity), place)
        )
    return found


def _fits(entry: LockEntry) -> bool:
    """Return whether a package supports this machine, by its optional lists such as `linux` or `!win32`."""
    for field, here in PLATFORM.items():
        listed = getattr(entry, field)
        wanted = listed.split() if isinstance(listed, str) else listed
        plain = [word for word in wanted if not word.startswith("!")]
        if f"!{here}" in wanted or (plain and here not in plain and "any" not in plain):
            return False
    return True


def explain(messages: str, relay: Relay) -> Exception:
    """Return the error for a failed run of npm: of the registry, of the packages, or of unknown cause."""
    if relay.faults:
        return CacheError(f"the registry of npm packages cannot be reached: {relay.faults[-1]}")
    if relay.refused:
        return DependenciesError(
            "something that the packages need is not on the registry that is configured, but "
            + (f"on {relay.refused[-1]}" if relay.refused[-1] else "has an address that is not https")
        )
    text = (
        "\n".join(line for line in ERROR_TEXT.findall(messages) if line.strip())[-4000:] or messages[-2000:]
    )
    code = CODE.search(messages)
    if code and code[1].startswith(ADDRESS):
        kind = code[1].removeprefix(ADDRESS).lower()
        return DependenciesError(
            f"something that the packages need is not on the registry that is configured, but named by an "
            f"address (git, remote, file or directory; here {kind}), which is not followed: {text}"
        )
    if code and REGISTRY_ERRORS.fullmatch(code[1]):
        return CacheError(f"npm could not reach the registry: {text}")
    return (DependenciesError if code and code[1] in PACKAGE_ERRORS else TransientError)(f"npm: {text}")
