"""Which addresses a webhook may be sent to: a name says nothing about whose network it leads into. Pure."""

import ipaddress
from collections.abc import Collection, Sequence

from topics.request.callback_urls import place

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")))
"""Of IANA's registries of special-purpose addresses; Python 3.11 does not know them all."""
_IPV4_BITS = 0xFFFFFFFF


class ForbiddenError(Exception):
    """None of the addresses may be sent to; the message says which, and what an operator can do."""


def is_public(address: Address) -> bool:
    """Whether it is of the Internet, and of one host there.

    An IPv6 address that stands for an IPv4 address is judged as that one, since that is where it leads.
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
    """Of an IPv4-mapped address, NAT64, 6to4 or Teredo."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def permitted(host: str, addresses: Sequence[str], port: int, allowed: Collection[str]) -> list[str]:
    """Those of the addresses that `host` has which may be sent to: public ones, and those in the allow-list.

    Raises:
        ForbiddenError: none may.
    """
    found = [ipaddress.ip_address(address) for address in addresses]
    may = [str(address) for address in found if is_public(address) or place(str(address), port) in allowed]
    if not may:
        first = place(str(found[0]), port) if found else "no address"
        raise ForbiddenError(
            f"{host} leads to {first}, which is not public: ENVICUTOR_WEBHOOK_ALLOW must name that, too"
        )
    return may
