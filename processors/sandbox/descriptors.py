"""Bytes as a file descriptor, and descriptors that are nobody's."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def sealed_memory(content: bytes) -> int:
    """Return a descriptor, at its start, of a file in memory that nobody can change any more."""
    descriptor = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fchmod(descriptor, 0o444)
        fcntl.fcntl(
            descriptor,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
        )
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close it at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def release_unreachable() -> None:
    """Let the kernel close what only UNIX sockets hold that hold each other, sent through themselves.

    Their processes are dead, but their open files keep pages of a box and ends of pipes. The kernel looks for
    such sockets when any is closed, and closes them soon after (unix_gc in net/unix/garbage.c).
    """
    for end in socket.socketpair():
        end.close()
