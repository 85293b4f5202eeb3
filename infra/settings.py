"""Settings of `envicutor up`, which runs a system on one machine."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.request.languages import LanguageNames


class LocalSettings(BaseSettings):
    """Processes, ports and folders of `envicutor up`."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    data_dir: Path = Path("/var/lib/envicutor")
    """Folder of everything that is kept between runs: the broker's data, the Nix store, secrets, and the
    local tables of ingest and the other roles."""
    cache_dir: Path = Path("/var/cache/envicutor")
    """Folder of files that can be downloaded or built again, shared by all systems of the machine: Kafka's
    jars, package sets, archives and what they unpack to."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """TCP port of HTTP; 0 chooses a free one."""
    kafka_port: int = Field(default=9092, ge=0, le=65535)
    """TCP port of the first broker on 127.0.0.1; 0 chooses a free one."""
    brokers: int = Field(default=1, ge=1)
    """Number of brokers. Three replicate to each other, so the system keeps working while one of them is
    down. The first start on a data folder fixes the number."""
    runs_on: bool = True
    """Whether the brokers run for more than some minutes. They then compile their code once more, for speed:
    it costs CPU time in the first two minutes, and saves a third of the brokers' CPU time afterwards."""
    secure: bool = False
    """True starts Kafka with TLS, a user for each role, and access control, see
    [kafka.md](kafka.md#users-and-rights). `up` generates the passwords in `DATA_DIR/secrets`. Also
    `envicutor up --secure`."""
    workers: int = Field(default=1, ge=1)
    """Number of worker processes; also `envicutor up --workers N`."""
    cache_builders: int = Field(default=1, ge=1)
    """Number of cache builder processes; also `envicutor up --cache-builders N`."""
    store_processors: int = Field(default=1, ge=1)
    """Number of processes of each store processor. Each partition has one active process; the others
    stand by."""
    health_checkers: int = Field(default=1, ge=1)
    """Number of processes with the health checkers of submissions and dependencies."""
    prebuild: Path | None = None
    """File with a JSON list of dependencies that `up` has built at its start, such as
    `[{"packages": ["python3"]}]`, see [dependencies.md](dependencies.md)."""
    languages: LanguageNames = ()
    """Languages whose environments `up` has built at its start, such as `["python", "cpp"]`;
    `GET /languages` lists them. `["all"]` builds all of them, which takes 5 GB of disk space and downloads
    1 GB. See [http.md](http.md#languages)."""
    service_user: str = "envicutor"
    """System user of the broker and of every role but worker and cache builder. `make system` adds the
    default user. With `root` they run as root without capabilities."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Lowest level that is logged. Commands other than `up` and the roles log warnings and above unless it is
    set."""
