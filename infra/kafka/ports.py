"""Free TCP ports of this machine, and claims on them."""

import random
import socket

LOOPBACK = "127.0.0.1"

_FREE_PORTS = range(10_240, 32_768)
"""Ports below Linux's ephemeral range. A client that connects to a stopped server in that range may get the
same port as its source port. It would connect to itself, and block the server's restart."""


def choose_free_port() -> int:
    """Return a random port that is free now."""
    return next(port for port in random.sample(_FREE_PORTS, k=1_000) if is_free(port))


def claim(port: int) -> socket.socket | None:
    """Claim a port against other systems of this machine before a server listens on it.

    Returns None if another system has claimed it. A claim lasts until the socket is closed or the process
    ends.
    """
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(f"\0envicutor/port/{port}")  # an abstract name: no file is left
    except OSError:
        claimed.close()
        return None
    return claimed


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on a port of `host` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True
