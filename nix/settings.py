"""Where the Cache keeps things, and how many."""

import re
from pathlib import Path
from typing import Self

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

HOST = r"[A-Za-z0-9.-]+(:[0-9]{1,5})?"


class NixSettings(BaseSettings):
    """Folders of package sets, archives and environments."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_")

    nix_root: Path = Path("/var/lib/envicutor/nix")
    """Root of the Nix store that holds the environments; several builders and workers of a host share it."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """Package sets and downloaded archives, shared by all stores of a host; what is missing is fetched."""
    environment_bytes: int = 4 << 30
    """Largest environment, by the sizes that its packages state; larger ones are refused."""
    cache_limit_bytes: int = 20 << 30
    """What the environments of a host may take on disk, what they share counted once; beyond it those that
    were used longest ago go."""
    archives_limit_bytes: int = 10 << 30
    """What downloaded archives may take on disk; beyond it those that were used longest ago go."""
    binary_cache_dir: Path | None = None
    """Folder that all hosts see, where builders put what the others fetch; None where there is one host."""
    binary_cache_public_key: str = ""
    """What environments must be signed with to be fetched: `NAME:KEY`."""
    binary_cache_secret_key_file: Path | None = None
    """What builders sign with; `envicutor binary-cache-key FILE` makes it. Only root may read it."""
    pypi_index: str = ""
    """Address of the simple index that `pypi` packages come from, `https://…`; none: they are off."""
    pypi_file_hosts: tuple[str, ...] = ()
    """Hosts, `NAME` or `NAME:PORT`, beside the index's own, from which it has its files fetched."""
    npm_registry: str = ""
    """Address of the registry that `npm` packages come from, `https://…`; none: they are off."""
    registries_ca_file: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    """The authorities by whose certificates index and registry are known, in PEM."""

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
