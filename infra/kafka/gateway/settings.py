"""Settings of the gateway."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """How many clients of Kafka may be there at once, where the broker has users (`up --secure`)."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_GATEWAY_", extra="ignore", frozen=True)

    connections: int = Field(default=64, ge=1, le=1024)
    """Connections of all clients that have logged in. The broker's heap grows with them: each may have one
    request under way, of as many bytes as the largest request."""
    connections_per_user: int = Field(default=16, ge=1)
    """Connections of one user. A librdkafka client has two or three."""


class GatewayPlace(BaseSettings):
    """Where the gateway listens and what is behind it; `up` says so."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_GATEWAY_", extra="ignore", frozen=True)

    ports: dict[int, int]
    """The ports on 127.0.0.1 that clients connect to, each with the port of its broker, as JSON."""
    certificate_file: Path
    """PEM of the certificate, with its key, that clients and brokers are shown."""
    ca_file: Path
    """PEM of the authority that signed the brokers' certificate."""
    largest_batch_bytes: int
    """`max.message.bytes` of the topic of requests."""
