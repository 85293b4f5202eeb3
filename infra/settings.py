"""Settings of a system on one machine."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalSettings(BaseSettings):
    """What `envicutor up` starts."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    data_dir: Path = Path("/var/lib/envicutor")
    """Everything that is kept between runs: the broker's data, the Nix store, views."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """What can be fetched or built again, shared by all systems of the machine."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """0 chooses a free one."""
    kafka_port: int = Field(default=9092, ge=0, le=65535)
    """0 chooses a free one."""
    brokers: int = Field(default=1, ge=1)
    """Several replicate to each other, so that all goes on while one of them is away; three is a good number.
    Fixed by the first start on a data folder."""
    secure: bool = False
    """TLS, a user for every role, and rights: see docs/kafka.md. Passwords are made in `data_dir`/secrets."""
    workers: int = Field(default=1, ge=1)
    cache_builders: int = Field(default=1, ge=1)
    store_processors: int = Field(default=1, ge=1)
    """Instances of each store processor; all but one per partition stand by."""
    health_checkers: int = Field(default=1, ge=1)
    """Instances of each health checker."""
    prebuild: Path | None = None
    """A JSON list of dependencies that are built at the start, before anybody asks for them."""
    service_user: str = "envicutor"
    """System user that the broker and every role but worker and cache builder run as. `make system` adds the
    default. With `root` they run as root without capabilities."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
