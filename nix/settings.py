"""Settings of the Cache: folders, their limits, the binary cache and the registries."""

import re
from pathlib import Path
from typing import Self

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

HOST = r"[A-Za-z0-9.-]+(:[0-9]{1,5})?"


class NixSettings(BaseSettings):
    """Settings of package sets, archives, environments and registries."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_")

    nix_root: Path = Path("/var/lib/envicutor/nix")
    """Root of the Nix store that holds the environments; all builders and workers of a host share it."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """Package sets and downloaded archives, shared by all Nix stores of a host; missing ones are fetched."""
    environment_bytes: int = 4 << 30
    """Largest environment, by the sizes that its packages declare; larger ones are refused."""
    cache_limit_bytes: int = 20 << 30
    """Disk space for the environments of a host, with shared files counted once; beyond it the least recently
    used ones are evicted."""
    archives_limit_bytes: int = 10 << 30
    """Disk space for downloaded archives; beyond it the least recently used ones are removed."""
    binary_cache_dir: Path | None = None
    """Folder shared by all hosts into which builders publish environments; None for a single host."""
    binary_cache_public_key: str = ""
    """Public key, `NAME:KEY`, that verifies the signatures of fetched environments."""
    binary_cache_secret_key_file: Path | None = None
    """Key with which builders sign, made by `envicutor binary-cache-key FILE`; readable by root alone."""
    pypi_index: str = ""
    """Address of the simple index for `pypi` packages, `https://…`; if empty, they are switched off."""
    pypi_file_hosts: tuple[str, ...] = ()
    """Hosts, `NAME` or `NAME:PORT`, besides the index's own, from which files may be fetched."""
    npm_registry: str = ""
    """Address of the registry for `npm` packages, `https://…`; if empty, they are switched off."""
    registries_ca_file: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    """Certificates of the authorities that verify index and registry, in PEM."""

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
