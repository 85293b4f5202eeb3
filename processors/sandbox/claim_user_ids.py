"""Program that claims a free range of user ids: `claim_user_ids FIRST SIZE RANGES START` (see user_ids.py).

It sends the number of the range, and descriptors that hold the claim, through the socket that is its standard
input. Exit code 3 means that no range is free. Python executes it without the project's modules.
"""

import ctypes
import errno
import os
import resource
import socket
import sys

NONE_FREE = 3
CLONE_NEWIPC = 0x08000000
MESSAGE_BYTES, LIMIT_BYTES = 1024, 1536
"""Size of a queue's only message, and the limit on all queues of a user: it allows one such queue, not two.

The kernel adds about 100 bytes to a message.
"""
QUEUES = 256
"""Queues that fit into one IPC namespace: the kernel's default of `fs.mqueue.queues_max`."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """Layout of the C type `struct mq_attr` (mqueue.h), of which `mq_open` reads `messages` and `bytes`."""

    _fields_ = [(name, ctypes.c_long) for name in ("flags", "messages", "bytes", "now", "a", "b", "c", "d")]


def claim(uids: range) -> list[int] | None:
    """Claim all ids; return descriptors of the IPC namespaces that hold them, or None if one is taken."""
    namespaces = []
    for start in range(0, len(uids), QUEUES):
        _check(_libc.unshare(CLONE_NEWIPC))
        namespaces.append(os.open("/proc/self/ns/ipc", os.O_RDONLY))
        if not all(_make_queue_of(uid) for uid in uids[start : start + QUEUES]):
            for namespace in namespaces:
                os.close(namespace)
            return None
    return namespaces


def _make_queue_of(uid: int) -> bool:
    """Make a message queue that counts for a user; return False if the user has one on this kernel."""
    os.setresuid(uid, uid, 0)
    try:
        wanted = _Attributes(messages=1, bytes=MESSAGE_BYTES)
        flags = os.O_CREAT | os.O_EXCL
        queue = _check(_libc.mq_open(b"/%d" % uid, flags, ctypes.c_uint(0), ctypes.byref(wanted)))
        os.close(queue)  # the queue stays; too many open descriptors would give EMFILE, too
    except OSError as error:
        if error.errno == errno.EMFILE:
            return False
        raise
    finally:
        os.setresuid(0, 0, 0)
    return True


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def main(first: int, size: int, ranges: int, start: int) -> int:
    """Try each range once, from number `start` on, and return the exit code."""
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (LIMIT_BYTES, LIMIT_BYTES))
    for number in [*range(start, ranges), *range(start)]:
        begin = first + number * size
        if namespaces := claim(range(begin, begin + size)):
            with socket.socket(fileno=0) as parent:
                socket.send_fds(parent, [str(number).encode()], namespaces)
            return 0
    return NONE_FREE


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
