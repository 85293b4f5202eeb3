"""Settings of ingest, from environment variables with the prefix `ENVICUTOR_`."""

import ipaddress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from pydantic import Field, IPvAnyNetwork, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from topics.request.languages import LanguageNames


class IngestSettings(BaseSettings):
    """Address, access control and bounds of the HTTP server (ingest)."""

    model_config = SettingsConfigDict(
        env_prefix="ENVICUTOR_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    http_host: str = "127.0.0.1"
    """Address that ingest listens on. An address that is not loopback needs `HTTP_KEYS`."""
    http_port: int = Field(default=8000, ge=0, le=65535)
    """TCP port that ingest listens on; 0 chooses a free one."""
    http_keys: bool = False
    """Whether requests need an API key, which `envicutor keys create` makes, see [http.md](http.md#keys)."""
    http_names: tuple[str, ...] = ()
    """Names besides localhost that the `Host` header may have on a loopback address, such as
    `["judge.test"]`. A name that is not loopback needs `HTTP_KEYS` or `HTTP_OPEN`, because a proxy can
    forward requests of other machines."""
    http_open: bool = False
    """Whether a proxy may forward requests while `HTTP_KEYS` is off. All clients of the proxy can then run
    programs here and read all submissions, so set it only if the proxy authenticates its clients."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may use this server from a browser (CORS), such as `["https://example.org"]`."""
    http_connections: int = Field(default=20_000, ge=1)
    """Open connections of all clients; beyond it the answer is a 503. Ingest raises its limit of open
    files to this number if the hard limit allows it."""
    http_connections_per_address: int = Field(default=1_000, ge=1)
    """Open connections of one client address; beyond it the answer is a 429. An IPv6 /64 network counts
    as one address. See [http.md](http.md#bounds)."""
    http_trusted_addresses: tuple[IPvAnyNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Networks whose connections are not bounded by address. Add the address of a proxy, which has many
    clients."""
    http_streams_per_key: int = Field(default=1_000, ge=1)
    """Open event streams of one API key at each ingest node; beyond it the answer is a 429."""
    acknowledge_timeout_s: float = Field(default=8.0, gt=0)
    """Time within which the broker must acknowledge a request, and the store must show whether its id was
    accepted; then the answer is a 503."""
    wait_timeout_max_s: float = Field(default=300.0, ge=30)
    """Ceiling of the parameter `wait_timeout_s` of a request with `wait=true`. The project's clients wait for
    up to 30 s in one request."""
    retry_after_s: int = Field(default=2, ge=1)
    """Value of `Retry-After` of a 503."""
    languages: LanguageNames = ()
    """Languages that `GET /languages` shows as prebuilt; the setting of `envicutor up`."""

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
