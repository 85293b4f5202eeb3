"""Archives of packages of PyPI and npm: one resolution is a list of them, complete and hashed."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from nix.errors import DependenciesError, TransientError
from nix.settings import NixSettings

Registry = Literal["pypi", "npm"]
Host = tuple[str, int]
"""Name, in small letters, and port."""

ARTIFACTS = 2000
"""Most archives that one resolution may have."""
SETTINGS: dict[Registry, str] = {"pypi": "ENVICUTOR_PYPI_INDEX", "npm": "ENVICUTOR_NPM_REGISTRY"}
"""Setting that switches each registry on, for the error message to the client."""
HTTPS = 443
HASH = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
_NAME = r"(?:@[A-Za-z0-9][A-Za-z0-9._~-]*/)?[A-Za-z0-9][A-Za-z0-9._~-]*"
PLACE = re.compile(rf"node_modules/{_NAME}(?:/node_modules/{_NAME})*")
DIGESTS = {"sha256": 32, "sha512": 64}
"""Length of each digest in bytes, by the name of its algorithm."""


@dataclass(frozen=True)
class ResolvedArtifact:
    """One archive of one package."""

    registry: Registry
    name: str
    version: str
    url: str
    hash: str
    """`sha256:HEX` or `sha512:HEX`, of the archive."""
    place: str = ""
    """Folder that the archive is unpacked into, such as `node_modules/a/node_modules/b`; empty for PyPI."""

    @property
    def label(self) -> str:
        """Name and version, as users write them in a request."""
        return f"{self.name}{'==' if self.registry == 'pypi' else '@'}{self.version}"

    @property
    def file(self) -> str:
        """Name of the file in the pool of archives."""
        return f"{self.hash.replace(':', '-')}.{self.registry}"


def hosts(settings: NixSettings, registry: Registry) -> frozenset[Host]:
    """Return the hosts that archives of a registry may come from."""
    address = address_of(settings, registry)
    further = settings.pypi_file_hosts if registry == "pypi" else ()
    return frozenset(host_of(f"https://{host}") for host in further) | {host_of(address)}


def address_of(settings: NixSettings, registry: Registry) -> str:
    """Return the address of the configured index or registry, empty if none is configured."""
    return settings.pypi_index if registry == "pypi" else settings.npm_registry


def switched_off(registry: Registry) -> TransientError:
    """Return the error for packages of a registry that the operator has not configured."""
    setting = SETTINGS[registry]
    return TransientError(
        f"packages of {registry} are switched off here; the operator switches them on with {setting}"
    )


def host_of(url: str) -> Host:
    """Return the host of an https address.

    Raises:
        ValueError: the address has another scheme, no host, or credentials.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        raise ValueError(f"{url!r} is not a plain https address")
    return parts.hostname, parts.port or HTTPS


def spelled(host: Host) -> str:
    """Return a host as settings name it: with its port unless that is 443."""
    name, port = host
    return name if port == HTTPS else f"{name}:{port}"


def check(artifacts: Iterable[ResolvedArtifact], settings: NixSettings) -> None:
    """Accept archives that come from their registries, have a hash, and belong into a plain folder.

    A registry's answer determines a resolution, so no part of it is trusted.

    Raises:
        DependenciesError: an archive does not, or there are more than `ARTIFACTS`.
    """
    artifacts = list(artifacts)
    if len(artifacts) > ARTIFACTS:
        raise DependenciesError(f"the packages need {len(artifacts)} others, and {ARTIFACTS} are the most")
    for artifact in artifacts:
        if not HASH.fullmatch(artifact.hash):
            raise DependenciesError(
                f"{artifact.label}: the registry gives no sha256 or sha512 of its archive, so a later "
                "installation could not be compared with this one"
            )
        try:
            known = host_of(artifact.url) in hosts(settings, artifact.registry)
        except ValueError:
            known = False
        if not known:
            raise DependenciesError(
                f"{artifact.label}: {artifact.url[:300]!r} is not on the registry that is configured"
            )
        if artifact.registry == "pypi" and not urlsplit(artifact.url).path.endswith(".whl"):
            raise DependenciesError(
                f"{artifact.label}: {artifact.url[:300]!r} is no wheel, and only wheels are installed"
            )
        if artifact.registry == "npm" and not PLACE.fullmatch(artifact.place):
            raise DependenciesError(f"{artifact.label}: {artifact.place[:300]!r} is no place for a package")


def hash_of(integrity: str) -> str:
    """Return the strongest hash of a value of Subresource Integrity (`sha512-BASE64`), empty for none."""
    found = {}
    for word in integrity.split():
        algorithm, _, value = word.partition("-")
        try:
            digest = base64.b64decode(value.partition("?")[0], validate=True)
        except binascii.Error:
            continue
        if len(digest) == DIGESTS.get(algorithm):
            found[algorithm] = f"{algorithm}:{digest.hex()}"
    return found.get("sha512") or found.get("sha256") or ""
