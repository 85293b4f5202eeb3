"""Where submissions may have their end told over HTTP: what a URL is, and which an operator allows. Pure.

What is accepted here is taken apart once, by one strict expression, so that nobody reads it otherwise later.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

URL_CHARACTERS = 2048
LABEL_CHARACTERS = 63
"""Of a host's name between two dots, as DNS has it."""
_PORTS = {"http": 80, "https": 443}
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?)"
)
_ALLOWED = re.compile(rf"(?P<host>{_HOST}):(?P<port>[0-9]{{1,5}})")


class Target(NamedTuple):
    """A callback URL, taken apart."""

    scheme: str
    host: str
    """Lower case; an IPv6 address has no brackets."""
    port: int
    path: str
    """With the query, as it was."""

    @property
    def authority(self) -> str:
        """As the header `Host` has it: without the port where the scheme says it."""
        return place(self.host, self.port if self.port != _PORTS[self.scheme] else None)

    @property
    def place(self) -> str:
        """As the allow-list names it: `host:port`."""
        return place(self.host, self.port)


def target(url: str) -> Target:
    """Take a URL apart.

    Raises:
        ValueError: it is none that anything could be told at; the message says why.
    """
    if len(url) > URL_CHARACTERS:
        raise ValueError(f"must have at most {URL_CHARACTERS} characters")
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if "@" in url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0]:
        raise ValueError("must not contain a user or a password")
    if "#" in url:
        raise ValueError("must not contain a fragment (#)")
    if (found := _URL.fullmatch(url)) is None:
        raise ValueError("is not a URL in ASCII: scheme://host:port/path?query")
    scheme = found["scheme"]
    port = int(found["port"] or _PORTS[scheme])
    return Target(scheme, _host(found["host"]), _port(port), found["path"] or "/")


def check_callback_url(url: str) -> str:
    """Accept a URL of the right form, whoever it belongs to.

    Raises:
        ValueError: see `target`.
    """
    target(url)
    return url


def refusal(url: str | None, allowed: Collection[str]) -> str | None:
    """Why nothing may be told at `url`, of the right form; None where it may, or there is none."""
    if url is None or (where := target(url).place) in allowed:
        return None
    return f"{where} is not allowed: an operator must add it to ENVICUTOR_WEBHOOK_ALLOW"


def place(host: str, port: int | None) -> str:
    """`host:port`, an IPv6 address in brackets."""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


def _allowed(entry: str) -> str:
    if (found := _ALLOWED.fullmatch(entry)) is None:
        raise ValueError(f"{entry!r} is no host:port, such as hooks.example.org:443 or [2001:db8::1]:80")
    return place(_host(found["host"]), _port(int(found["port"])))


AllowedPlace = Annotated[str, AfterValidator(_allowed)]
"""An entry of the allow-list, as `Target.place` says it."""


def _host(host: str) -> str:
    if host.startswith("["):
        return ipaddress.IPv6Address(host[1:-1]).compressed
    name = host.lower().removesuffix(".")
    if not all(0 < len(label) <= LABEL_CHARACTERS for label in name.split(".")):
        raise ValueError(
            f"the host {name!r} is none: between dots it must have 1 to {LABEL_CHARACTERS} characters"
        )
    return name


def _port(port: int) -> int:
    if not 0 < port < 1 << 16:
        raise ValueError(f"the port {port} is none: 1 to 65535")
    return port
