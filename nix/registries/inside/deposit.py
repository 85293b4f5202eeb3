"""How a program in the sandbox hands a file over: to a process that counts and hashes it."""

import socket
from types import TracebackType
from typing import Self

DEPOSIT = "/relay/deposit.sock"
ACCEPTED = b"ok"
"""The only answer that accepts a file; any other is the reason for a refusal."""


class UnansweredError(Exception):
    """The other side neither accepted nor refused a file."""


class Deposited:
    """A file that is being handed over, under the name that the other side expects."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(DEPOSIT)
        self._socket.sendall(f"{name}\n".encode())

    def write(self, piece: bytes) -> int:
        """Hand a piece over. Raises OSError once the other side takes no more."""
        self._socket.sendall(piece)
        return len(piece)

    def verdict(self) -> str:
        """End the file and return why it is refused, empty if it is accepted.

        Raises UnansweredError if the connection ends without an answer, OSError if it breaks.
        """
        self._socket.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := self._socket.recv(4096):
            answer += piece
        if not answer:
            raise UnansweredError("the file was neither accepted nor refused")
        return "" if answer == ACCEPTED else answer.decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
