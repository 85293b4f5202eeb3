"""Settings of environments: folders, sizes, the binary cache, registries."""

import re
from pathlib import Path
from typing import Self, TypeVar

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

HOST = r"[A-Za-z0-9.-]+(:[0-9]{1,5})?"
PACKAGE_SET = r"[a-z0-9][a-z0-9.+-]{0,31}"
"""Name of a package set, such as `debian-13`."""
CODENAMES = {"debian-12": "bookworm", "debian-13": "trixie"}
"""Codename of the release of each package set whose sources are derived from those of the host's apt."""

Names = TypeVar("Names", tuple[str, ...], dict[str, Path])


class NixSettings(BaseSettings):
    """Folders and sizes of environments, package sets and archives; sources of packages."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", use_attribute_docstrings=True)

    nix_root: Path = Path("/var/lib/envicutor/nix")
    """Root of the Nix store that holds the environments. All cache builders and workers of a host share
    it. `up` sets it to `DATA_DIR/nix`."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """Folder of package sets, downloaded archives and unpacked archives, shared by all Nix stores of a host.
    On the file system of `nix_root`, environments link files of unpacked archives; else they copy them,
    which takes disk space for each environment."""
    package_sets: tuple[str, ...] = ()
    """Names of the package sets that requests may name, such as `["debian-12", "debian-13"]`; the first is
    that of requests without `package_set`. By default there is one, of the host's own Debian release. `up`,
    `init` and `packages refresh` read it. See [dependencies.md](dependencies.md#the-package-set)."""
    package_set_sources: dict[str, Path] = {}
    """Files with sources of apt (sources.list(5)) by name of a package set, such as
    `{"debian-13": "/etc/envicutor/debian-13.sources"}`. A set without such a file has the host's own sources,
    for its release. Cache builders read it too."""
    environment_bytes: int = 4 << 30
    """Largest environment, by the sizes that its packages state. Larger environments are refused."""
    cache_limit_bytes: int = 20 << 30
    """Disk space of the environments below `nix_root`, of the unpacked archives that these use, and of those
    that no environment uses; shared files count once. Beyond it the least recently used are removed: first
    unpacked archives without an environment, then environments."""
    archives_limit_bytes: int = 10 << 30
    """Disk space of downloaded archives. Beyond it the least recently used archives are deleted."""
    binary_cache_dir: Path | None = None
    """Folder that all hosts mount, through which they share environments. A system on one host needs
    none. See [dependencies.md](dependencies.md#many-hosts)."""
    binary_cache_public_key: str = ""
    """Public key, as `NAME:KEY`, by which environments from the binary cache must be signed."""
    binary_cache_secret_key_file: Path | None = None
    """File of the secret key with which cache builders sign. `envicutor binary-cache-key FILE` makes it. Only
    root may be able to read it."""
    pypi_index: str = ""
    """Address of the simple index (PEP 503 or 691) of `pypi` packages, such as `https://HOST/simple`. Without
    it, requests for `pypi` packages fail. Ingest and request handlers read it too, to resolve packages
    without a version. See [dependencies.md](dependencies.md#packages-of-pypi-and-npm)."""
    pypi_file_hosts: tuple[str, ...] = ()
    """Hosts besides the index's own from which files are fetched, as `NAME` or `NAME:PORT`, such as
    `["files.example.org"]`."""
    npm_registry: str = ""
    """Address of the registry of `npm` packages, such as `https://HOST/`. Without it, requests for `npm`
    packages fail."""
    registries_ca_file: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    """PEM of the authorities that sign the certificates of index and registry."""

    @field_validator("pypi_index", "npm_registry")
    @classmethod
    def _plain_https(cls, address: str) -> str:
        if address and not re.fullmatch(rf"https://{HOST}(/[A-Za-z0-9._~/-]*)?", address):
            raise ValueError(f"{address!r} is not an address such as https://HOST/PATH, without user or ?")
        return address

    @field_validator("pypi_file_hosts")
    @classmethod
    def _plain_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [host for host in hosts if not re.fullmatch(HOST, host)]:
            raise ValueError(f"{wrong[0]!r} is not a host such as NAME or NAME:PORT")
        return hosts

    @field_validator("package_sets", "package_set_sources")
    @classmethod
    def _names_of_package_sets(cls, named: Names) -> Names:
        if wrong := [name for name in named if name == "debian" or not re.fullmatch(PACKAGE_SET, name)]:
            raise ValueError(
                f"{wrong[0]!r} is not a name such as debian-13: 1-32 of a-z 0-9 . + -, not debian"
            )
        if len(set(named)) < len(named):
            raise ValueError("a package set is named twice")
        return named

    @model_validator(mode="after")
    def _binary_cache_is_whole(self) -> Self:
        folder = self.binary_cache_dir
        if folder is None:
            return self
        if not re.fullmatch(r"/[A-Za-z0-9/._+-]+", str(folder)):  # Nix reads it as part of a list of URLs
            raise ValueError(f"binary_cache_dir: {folder} is not an absolute path of A-Z a-z 0-9 . _ + -")
        if not re.fullmatch(r"[^:\s]+:[A-Za-z0-9+/]{43}=", self.binary_cache_public_key):
            raise ValueError(
                "binary_cache_public_key: NAME:KEY is needed, as `envicutor binary-cache-key` prints it"
            )
        return self
