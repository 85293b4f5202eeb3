"""Settings of the gateway: bounds for operators, and addresses that `up` sets."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Bounds on connections of Kafka clients if the broker has users (`up --secure`)."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_GATEWAY_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    connections: int = Field(default=64, ge=1, le=1024)
    """Connections of all clients that have logged in. The broker's heap has room for one request of the
    largest size for each connection."""
    connections_per_user: int = Field(default=16, ge=1)
    """Connections of one user that have logged in. A librdkafka client has two or three. See
    [kafka.md](kafka.md#what-one-producer-can-do-to-the-others)."""


class GatewayAddresses(BaseSettings):
    """Addresses and certificates of the gateway's process, which `up` sets."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_GATEWAY_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    ports: dict[int, int]
    """JSON object of ports on 127.0.0.1: the port that clients connect to, and the port of its broker."""
    certificate_file: Path
    """PEM file of the certificate and key that the gateway presents to clients and brokers."""
    ca_file: Path
    """PEM file of the authority that signed the brokers' certificate."""
    largest_batch_bytes: int
    """Largest batch that clients may produce: `max.message.bytes` of the topic of requests."""
