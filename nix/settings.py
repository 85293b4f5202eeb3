"""Where the Cache keeps things, and how many."""

import re
from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


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
