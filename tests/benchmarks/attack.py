"""Runs inside a sandbox: one way into a limit, alone, with a fork bomb, or with processes that die slowly.

    attack.py LIMIT VALUE alone|bomb|mapped

Prints `at SECONDS`, since the epoch, just before it hits a limit that is not of time. VALUE is in the unit of
the limit.
"""

import ctypes
import mmap
import os
import sys
import time

PIECE = 1 << 16
SETTLE_S = 0.2
"""By then whoever reads our output has read what was written before."""


MAPPINGS, CHILDREN = 60_000, 30
"""What fits into the default limits, nearly."""


def stamp() -> None:
    """Say that now it happens."""
    os.write(1, f"at {time.time()}\n".encode())


def wait(_seconds: float) -> None:
    """The clock started before us: bash said when."""
    while True:
        time.sleep(1)


def spin(_seconds: float) -> None:
    """How much was used, the worker tells."""
    while True:
        pass


def take_memory(_size: float) -> None:
    """Take it piece by piece; any may be the last."""
    held: list[bytes] = []
    while True:
        stamp()
        held.append(b"x" * PIECE)


def flood(size: float) -> None:
    """Print nearly all of it, wait until that is read, then the rest and more."""
    os.write(1, b"\n" * (int(size) - 1000))
    time.sleep(SETTLE_S)
    stamp()
    while True:
        os.write(1, b"\n" * PIECE)


def bomb() -> None:
    """Fork as long as the kernel lets us; children go on forking, at the lowest priority.

    We therefore come to say when we hit the limit.
    """
    while True:
        try:
            child = os.fork()
        except BlockingIOError:
            return
        if child == 0:
            os.nice(19)
            while True:
                _fork_once()


def map_much() -> None:
    """Make children with as many mappings as the kernel lets them have, all of which it must take down."""
    libc = ctypes.CDLL(None)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    file = os.open("mapped", os.O_CREAT | os.O_RDWR)
    os.ftruncate(file, 2 * mmap.PAGESIZE)
    rights, how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | mmap.MAP_POPULATE
    for number in range(MAPPINGS):  # two pages by turns, or mappings would become one
        libc.mmap(None, mmap.PAGESIZE, rights, how, file, number % 2 * mmap.PAGESIZE)
    for _ in range(CHILDREN):
        if os.fork() == 0:
            wait(0)


def _fork_once() -> None:
    try:
        if os.fork() == 0:
            os._exit(0)
        os.wait()
    except OSError:
        return


def main() -> None:
    """Attack."""
    limit, value, shape = sys.argv[1:]
    ways = {
        "wall_time_s": wait,
        "cpu_time_s": spin,
        "memory_bytes": take_memory,
        "stdout_bytes": flood,
    }
    if shape == "bomb":
        bomb()
    if shape == "mapped":
        map_much()
    ways[limit](float(value))


if __name__ == "__main__":
    main()
