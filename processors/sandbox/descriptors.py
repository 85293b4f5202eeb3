"""File descriptors: sealed memory, messages, closing, and the release of unreachable sockets."""

import errno
import fcntl
import os
import socket
from array import array
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


def receive(channel: socket.socket, most: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Return a message of 16 bytes at most and its descriptors, which no program inherits.

    `socket.recv_fds` ignores its flags before Python 3.12.

    Raises:
        OSError: no message arrived, or this process has too many open files for the descriptors.
    """
    descriptors = array("i")
    data, control, received, _ = channel.recvmsg(
        16, socket.CMSG_SPACE(most * descriptors.itemsize), flags | socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, content in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    if received & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return data, descriptors.tolist()


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
