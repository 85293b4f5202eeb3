"""Check of the addresses of a webhook's receiver: a public name may resolve to a private network. Pure."""

import ipaddress
from collections.abc import Collection, Sequence

from topics.request.callback_urls import host_and_port

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")))
"""Networks of IANA's special-purpose address registries that Python 3.11 does not know."""
_IPV4_BITS = 0xFFFFFFFF


class ForbiddenError(Exception):
    """No address of a host is permitted; the message names one, and the setting to change."""


def is_public(address: Address) -> bool:
    """Return whether an address is a unicast address of the public Internet.

    An IPv6 address that embeds an IPv4 address is treated as the latter, since packets go there.
    """
    if isinstance(address, ipaddress.IPv6Address) and (inner := _embedded(address)) is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address in an IPv4-mapped, NAT64, 6to4 or Teredo address, or None."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def permitted(host: str, addresses: Sequence[str], port: int, allowed: Collection[str]) -> list[str]:
    """Return the permitted addresses of `host`: public ones, and those that the allow-list names.

    Raises:
        ForbiddenError: no address is permitted.
    """
    found = [ipaddress.ip_address(address) for address in addresses]
    may = [
        str(address)
        for address in found
        if is_public(address) or host_and_port(str(address), port) in allowed
    ]
    if not may:
        first = host_and_port(str(found[0]), port) if found else "no address"
        raise ForbiddenError(
            f"{host} resolves to {first}, which is not public: ENVICUTOR_WEBHOOK_ALLOW must name that, too"
        )
    return may
