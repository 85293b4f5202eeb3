"""HTTP proxy on the loopback interface that forwards every connection to the relay's socket."""

import socket
import threading
from contextlib import suppress

RELAY = "/relay/relay.sock"
PIECE_BYTES = 64 << 10


def open_tunnel() -> str:
    """Start the proxy, which listens until the process ends, and return its URL."""
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=_serve, args=(server,), daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def _serve(server: socket.socket) -> None:
    while True:
        here, _ = server.accept()
        there = socket.socket(socket.AF_UNIX)
        try:
            there.connect(RELAY)
        except OSError:
            here.close()
            continue
        for ends in ((here, there), (there, here)):
            threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
