"""Where the Cache keeps things."""

from pathlib import Path

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
