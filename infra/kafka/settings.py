"""Where the embedded broker lives and what it may use."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.kafka.embedded import HEAP_BYTES


class KafkaBrokerSettings(BaseSettings):
    """Settings of the embedded broker; each is also an environment variable, `ENVICUTOR_` and its name."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_")

    cache_dir: Path = Field(Path("/var/cache/envicutor"), description="what can be fetched or made again")
    kafka_port: int = Field(9092, ge=0, le=65_535, description="on 127.0.0.1; 0 chooses a free one, once")
    kafka_heap_bytes: int = Field(HEAP_BYTES, ge=128 * 1024 * 1024, description="heap of the broker's JVM")
