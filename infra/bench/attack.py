"""Runs inside a sandbox: one way into a limit, alone or with a fork bomb beside it.

    attack.py LIMIT VALUE alone|bomb

Prints `at SECONDS`, since the epoch, just before it hits a limit that is not of time. VALUE is in the unit of
the limit.
"""

import os
import sys
import time

PIECE = 1 << 16
SETTLE_S = 0.2
"""By then whoever reads our output has read what was written before."""


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
    ways[limit](float(value))


if __name__ == "__main__":
    main()
