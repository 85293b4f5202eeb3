"""Ports of this machine that nothing else takes."""

import random
import socket

LOOPBACK = "127.0.0.1"

_FREE_PORTS = range(10_240, 32_768)
"""Below Linux's ephemeral ports: a client that calls a stopped server there could be given the very port that
it calls, connect to itself and keep the server from coming back."""


def choose_free_port() -> int:
    """A random port that is free now."""
    return next(port for port in random.sample(_FREE_PORTS, k=1_000) if is_free(port))


def claim(port: int) -> socket.socket | None:
    """Keep other systems of this machine from a port before anybody listens on it; None where one has it.

    It lasts until it is closed, or this process is gone.
    """
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(f"\0envicutor/port/{port}")  # an abstract name: no file is left
    except OSError:
        claimed.close()
        return None
    return claimed


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port of that address now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True
