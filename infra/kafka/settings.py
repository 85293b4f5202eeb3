"""Where Kafka is installed."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class KafkaInstallSettings(BaseSettings):
    """For set-up and tests, which start no system; a local system has settings of its own."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    cache_dir: Path = Path("/var/cache/envicutor")
    """What can be fetched or made again."""
