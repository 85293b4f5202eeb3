"""Client of the deposit: sends a file from the sandbox to the process that counts and hashes it."""

import socket
from types import TracebackType
from typing import Self

DEPOSIT = "/relay/deposit.sock"
ACCEPTED = b"ok"
"""Answer that accepts a file; any other answer is the reason for a refusal."""


class UnansweredError(Exception):
    """The deposit ended the connection without accepting or refusing the file."""


class Deposited:
    """File that is being sent, under a name that the deposit expects."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(DEPOSIT)
        self._socket.sendall(f"{name}\n".encode())

    def write(self, piece: bytes) -> int:
        """Send a piece and return its length.

        Raises:
            OSError: the deposit closed the connection.
        """
        self._socket.sendall(piece)
        return len(piece)

    def finish(self) -> str:
        """End the file and return the reason for its refusal, empty if it is accepted.

        Raises:
            UnansweredError: the connection ended without an answer.
            OSError: the connection broke.
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
