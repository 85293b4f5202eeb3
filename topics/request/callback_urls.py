"""Callback URLs, which receive the end of a submission over HTTP: their form, and the allow-list. Pure.

An accepted URL is parsed once, by one strict regular expression, so that no later parser reads it otherwise.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

URL_CHARACTERS = 2048
LABEL_CHARACTERS = 63
"""Longest part of a host's name between two dots, in DNS."""
_PORTS = {"http": 80, "https": 443}
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?)"
)
_ALLOWED = re.compile(rf"(?P<host>{_HOST}):(?P<port>[0-9]{{1,5}})")


class Target(NamedTuple):
    """The parts of a callback URL."""

    scheme: str
    host: str
    """Host name or address in lower case; an IPv6 address has no brackets."""
    port: int
    path: str
    """Path and query, unchanged."""

    @property
    def authority(self) -> str:
        """Value of the header `Host`, without the port if it is the scheme's default."""
        return host_and_port(self.host, self.port if self.port != _PORTS[self.scheme] else None)

    @property
    def host_and_port(self) -> str:
        """Entry of the allow-list that allows this URL: `host:port`."""
        return host_and_port(self.host, self.port)


def target(url: str) -> Target:
    """Parse a callback URL.

    Raises:
        ValueError: the URL cannot receive a webhook; the message is the reason.
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
    """Return the URL if its form is right; the allow-list is not considered.

    Raises:
        ValueError: the URL cannot receive a webhook; the message is the reason.
    """
    target(url)
    return url


def refusal(url: str | None, allowed: Collection[str]) -> str | None:
    """Return why `url`, which has the right form, may not be called; None if it may, or is None."""
    if url is None or (where := target(url).host_and_port) in allowed:
        return None
    return f"{where} is not allowed: an operator must add it to ENVICUTOR_WEBHOOK_ALLOW"


def host_and_port(host: str, port: int | None) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"


def _allowed(entry: str) -> str:
    if (found := _ALLOWED.fullmatch(entry)) is None:
        raise ValueError(f"{entry!r} is no host:port, such as hooks.example.org:443 or [2001:db8::1]:80")
    return host_and_port(_host(found["host"]), _port(int(found["port"])))


AllowedReceiver = Annotated[str, AfterValidator(_allowed)]
"""An entry of the allow-list, in the form of `Target.host_and_port`."""


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
