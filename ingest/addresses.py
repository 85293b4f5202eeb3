"""Number of open connections of each client address. Pure."""

import ipaddress
from collections import Counter
from collections.abc import Sequence

_IPV6_PREFIX = 64
"""Addresses of one IPv6 network with this prefix length count as one, since a host may use all of them."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Addresses:
    """Open connections of one node, counted by client address."""

    def __init__(self, most: int, trusted: Sequence[Network]) -> None:
        """Allow `most` connections of each address that is in none of the networks `trusted`."""
        self.most = most
        self._trusted = trusted
        self._open: Counter[Network] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more connection; return False and count nothing if the address has `most` already."""
        bounded = self._bounded(address)
        if bounded is None:
            return True
        if self._open[bounded] >= self.most:
            return False
        self._open[bounded] += 1
        return True

    def leave(self, address: str) -> None:
        """Uncount a connection that `enter` counted."""
        bounded = self._bounded(address)
        if bounded is not None:
            self._open[bounded] -= 1
            if self._open[bounded] <= 0:
                del self._open[bounded]

    def _bounded(self, address: str) -> Network | None:
        """Return the network whose connections are counted with this address's; None if it is trusted."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        if any(found in network for network in self._trusted):
            return None
        prefix = 32 if found.version == 4 else _IPV6_PREFIX
        return ipaddress.ip_network((found, prefix), strict=False)
