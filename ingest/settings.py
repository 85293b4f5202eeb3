"""Settings of the HTTP side."""

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from pydantic import Field, IPvAnyNetwork, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class IngestSettings(BaseSettings):
    """Where ingest listens and how long it waits."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8000, ge=0, le=65535)
    http_keys: bool = False
    """Whether whoever asks needs an API key, which `envicutor keys create` makes."""
    http_names: tuple[str, ...] = ()
    """Names besides localhost that clients may ask a loopback address for, such as `["judge.test"]`.

    A name that is not loopback needs `http_keys` or `http_open`, since a proxy can pass on others' requests.
    """
    http_open: bool = False
    """Whether a proxy may pass on requests while `http_keys` is off.

    All clients of the proxy can then run programs here and read all submissions.
    """
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use this server from a browser, such as `["https://example.org"]`."""
    http_connections: int = Field(default=20_000, ge=1)
    """How many may be open; beyond it a 503. The limit of open files is raised to it, if it may be."""
    http_connections_per_address: int = Field(default=1_000, ge=1)
    """Connections that one client address may have open; beyond it a 429. An IPv6 /64 counts as one."""
    http_trusted_addresses: tuple[IPvAnyNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Networks whose connections are not bounded by address, since they have many clients, as proxies do."""
    http_streams_per_key: int = Field(default=1_000, ge=1)
    """Event streams that one API key may have open at each node; beyond it a 429."""
    acknowledge_timeout_s: float = Field(default=8.0, gt=0)
    """How long the broker may take to acknowledge a request, and the store to show a verdict; then 503."""
    wait_timeout_max_s: float = Field(default=300.0, gt=0)
    """Ceiling of `wait_timeout_s` of a POST that waits."""
    retry_after_s: int = Field(default=2, ge=1)
    """What a 503 tells clients to wait."""

    @property
    def url(self) -> str:
        """Where this machine finds it."""
        host = "127.0.0.1" if self.http_host == "0.0.0.0" else self.http_host  # noqa: S104 - where it listens everywhere
        return f"http://[{host}]:{self.http_port}" if ":" in host else f"http://{host}:{self.http_port}"

    @model_validator(mode="after")
    def _open_to_this_machine_only(self) -> Self:
        if not (self.http_keys or is_loopback(self.http_host)):
            raise ValueError(
                f"ENVICUTOR_HTTP_HOST is {self.http_host!r}, which other machines reach: everybody there "
                "could run programs here. Set ENVICUTOR_HTTP_KEYS=true, and make keys with `envicutor keys "
                "create`; or let it be 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _named_for_this_machine_only(self) -> Self:
        others = [name for name in self.http_names if not is_loopback(name)]
        if others and self.refuses_proxies:
            raise ValueError(
                f"ENVICUTOR_HTTP_NAMES has {others[0]!r}, so that a proxy can pass on requests of other "
                "machines: everybody there could run programs here. Set ENVICUTOR_HTTP_KEYS=true, and make "
                "keys with `envicutor keys create`; or, if that is intended, set ENVICUTOR_HTTP_OPEN=true"
            )
        return self

    @property
    def refuses_proxies(self) -> bool:
        """Whether a request that a proxy passed on is refused, since its sender is unknown."""
        return not (self.http_keys or self.http_open)


@lru_cache
def is_loopback(name: str) -> bool:
    """Whether it is an address that only this machine reaches, or `localhost`."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
