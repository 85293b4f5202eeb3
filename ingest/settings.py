"""Settings of ingest, from environment variables with the prefix `ENVICUTOR_`."""

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from pydantic import Field, IPvAnyNetwork, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class IngestSettings(BaseSettings):
    """Settings of the HTTP server: addresses, access, bounds and timeouts."""

    model_config = SettingsConfigDict(env_prefix="ENVICUTOR_", extra="ignore", frozen=True)

    http_host: str = "127.0.0.1"
    """Address that ingest listens on. An address that is not loopback needs `http_keys`."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """Port that ingest listens on; 0 chooses a free one."""
    http_keys: bool = False
    """Whether requests need an API key, which `envicutor keys create` makes."""
    http_names: tuple[str, ...] = ()
    """Names besides localhost that `Host` may have on a loopback address, such as `["judge.test"]`.

    A name that is not loopback needs `http_keys` or `http_open`, since a proxy may forward requests to it.
    """
    http_open: bool = False
    """Whether a proxy may forward requests while `http_keys` is off.

    All clients of the proxy can then run programs here and read all submissions.
    """
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use this server from a browser, such as `["https://example.org"]`."""
    http_connections: int = Field(default=20_000, ge=1)
    """Connections that may be open; beyond it a 503. The limit of open files is raised for it."""
    http_connections_per_address: int = Field(default=1_000, ge=1)
    """Connections that one client address may have open; beyond it a 429. An IPv6 /64 counts as one."""
    http_trusted_addresses: tuple[IPvAnyNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Networks whose connections are not bounded by address, since they have many clients, as proxies do."""
    http_streams_per_key: int = Field(default=1_000, ge=1)
    """Event streams that one API key may have open at each node; beyond it a 429."""
    acknowledge_timeout_s: float = Field(default=8.0, gt=0)
    """Time that the broker may take to acknowledge an event, and the store to show its effect; then 503."""
    wait_timeout_max_s: float = Field(default=300.0, gt=0)
    """Largest `wait_timeout_s` of a POST that waits."""
    retry_after_s: int = Field(default=2, ge=1)
    """Value of `Retry-After` in a 503."""

    @property
    def url(self) -> str:
        """Base URL of ingest for clients on this machine."""
        host = "127.0.0.1" if self.http_host == "0.0.0.0" else self.http_host  # noqa: S104 - all addresses
        return f"http://[{host}]:{self.http_port}" if ":" in host else f"http://{host}:{self.http_port}"

    @model_validator(mode="after")
    def _open_to_this_machine_only(self) -> Self:
        if not (self.http_keys or is_loopback(self.http_host)):
            raise ValueError(
                f"ENVICUTOR_HTTP_HOST is {self.http_host!r}, which other machines reach: all their users "
                "could run programs here. Set ENVICUTOR_HTTP_KEYS=true, and make keys with `envicutor keys "
                "create`; or set it to 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _named_for_this_machine_only(self) -> Self:
        others = [name for name in self.http_names if not is_loopback(name)]
        if others and self.refuses_proxies:
            raise ValueError(
                f"ENVICUTOR_HTTP_NAMES has {others[0]!r}, for which a proxy can forward requests of other "
                "machines: all their users could run programs here. Set ENVICUTOR_HTTP_KEYS=true, and make "
                "keys with `envicutor keys create`; or, if that is intended, set ENVICUTOR_HTTP_OPEN=true"
            )
        return self

    @property
    def refuses_proxies(self) -> bool:
        """Whether requests that a proxy forwarded are refused, since their sender is unknown."""
        return not (self.http_keys or self.http_open)


@lru_cache
def is_loopback(name: str) -> bool:
    """Return whether `name` is a loopback address, or `localhost`."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
