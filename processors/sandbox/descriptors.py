"""File descriptors: sealed memory, closing, and the release of unreachable sockets."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def sealed_memory(content: bytes) -> int:
    """Return a descriptor of an immutable file in memory with this content, positioned at its start."""
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
    """Yield a descriptor and close it at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def release_unreachable() -> None:
    """Make the kernel free UNIX sockets that only reference each other, by descriptors in their own queues.

    Their processes have ended, but files in their queues keep pages of a box and ends of pipes. The kernel
    searches for such sockets when any socket is closed, and frees them soon after (unix_gc in
    net/unix/garbage.c).
    """
    for end in socket.socketpair():
        end.close()
