"""Command line and orders of the launcher (launcher.c): what it does before it executes the program."""

import os
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from processors.sandbox.model import Rootfs
from topics.request.limits import STACK_BYTES, RunLimits

Order = tuple[str, ...]
"""A step for the launcher, see `launcher.c`."""

DEFAULT_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/box", "LANG": "C.UTF-8"}
_MASKED = """
acpi asound bus cmdline fs interrupts irq kcore key-users keys latency_stats locks pressure sched_debug scsi
sysrq-trigger timer_list timer_stats
"""
MASKED = _MASKED.split()
"""Files and folders below /proc that reveal facts of the host, or act on it."""
GRACE_CPU_S = 2
"""Excess of the kernel's limit on CPU time over the submission's, which the worker enforces more exactly."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of descriptors among those that a launcher receives with its orders."""

    groups: Sequence[int]
    """Files of control groups to write "0" to."""
    trees: Sequence[int] = ()
    """Clones of the trees of the host that a root has, the last that of the box."""
    seccomp: Sequence[int] = ()
    """System call filter, if there is one."""


def sandbox_command(uid: int, root: bytes) -> bytes:
    """Return the command line of pid 1 of a sandbox, whose programs run as `uid` on the host.

    `root` are encoded orders that make its root.
    """
    return b"%d\0%b" % (uid, root)


HOST_COMMAND = b"0\0"
"""Command line of the launcher of a trusted command."""


def root_orders(dev: Path, over: Path) -> bytes:
    """Return encoded orders that make and enter a root without files, for any program.

    `dev` is a folder of devices on the host, `over` any folder there; the root is mounted over it.
    """
    orders: list[Order] = [
        ("begin-root", str(over)),
        ("bind-devices", str(dev), "/dev"),
        ("folder", "/tmp"),  # noqa: S108 - the sandbox's own
        ("proc", "/proc"),
        ("restrict-proc", "/proc"),
        ("send", "/proc/locks"),
        *(("mask", f"/proc/{name}") for name in MASKED),
    ]
    return _encode_orders(orders)


def file_orders(rootfs: Rootfs, trees: Sequence[int]) -> list[Order]:
    """Return orders that mount the files of a root and make it read-only.

    `trees` are the positions of clones of the trees of `rootfs.mounts` and of the box, in this order.
    """
    *positions, box = trees
    return [
        *(
            ("bind-read-only", str(position), target)
            for position, target in zip(positions, rootfs.mounts, strict=True)
        ),
        ("bind", str(box), "/box"),
        *(("link", text, link) for link, text in rootfs.symlinks.items()),
        ("end-root", "/box"),
    ]


def orders_for_box(
    argv: Sequence[str],
    env: Mapping[str, str],
    limits: RunLimits,
    positions: Positions,
    rootfs: Rootfs,
) -> bytes:
    """Return the encoded orders for the launcher that becomes pid 1 of a sandbox.

    The orders for `rootfs` come first.

    Raises:
        ValueError: `argv` is empty, or an argument or a variable has a NUL.
    """
    after = [("seccomp", str(position)) for position in positions.seccomp] + _joins(positions)
    files = _encode_orders(file_orders(rootfs, positions.trees))
    return _encode(argv, DEFAULT_ENV | dict(env), files, _orders_of(limits), _encode_orders(after))


@lru_cache(maxsize=64)
def _orders_of(limits: RunLimits) -> bytes:
    shared = f"size={limits.box_bytes},nr_inodes={limits.box_files + 1},mode=1777"
    cpu_s = int(limits.cpu_time_s) + GRACE_CPU_S
    # A program may raise the default, as gcc does, also if the request sets it, but no other value.
    most_stack = resource.RLIM_INFINITY if limits.stack_bytes == STACK_BYTES else limits.stack_bytes
    # Limits that the control group lacks, and a second limit on CPU time in case the worker is too busy to
    # check.
    rlimits = (
        (resource.RLIMIT_FSIZE, limits.file_size_bytes, limits.file_size_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        # With 1, unlike 0, the kernel does not start the host's core dump handler either.
        (resource.RLIMIT_CORE, 1, 1),
        (resource.RLIMIT_MEMLOCK, 64 << 10, 64 << 10),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_STACK, limits.stack_bytes, most_stack),
    )
    orders: list[Order] = [
        *(("tmpfs", path, shared) for path in ("/tmp", "/dev/shm")),  # noqa: S108 - the sandbox's own
        *(("rlimit", *map(str, rlimit)) for rlimit in rlimits),
    ]
    return _encode_orders(orders)


def orders_for_host(
    argv: Sequence[str], env: Mapping[str, str], positions: Positions, directory: Path
) -> bytes:
    """Return the encoded orders for the launcher of a trusted command.

    Raises:
        ValueError: `argv` is empty, or an argument or a variable has a NUL.
    """
    return _encode(argv, env, _encode_orders([("directory", str(directory)), *_joins(positions)]))


def _joins(positions: Positions) -> list[Order]:
    return [("join", str(group)) for group in positions.groups]


def _encode(argv: Sequence[str], env: Mapping[str, str], *orders: bytes) -> bytes:
    """Encode the program, which encoded orders follow."""
    variables = [f"{name}={value}" for name, value in env.items()]
    if not argv:
        raise ValueError("there is no program to run")
    if any("\0" in text for text in (*argv, *variables)):
        raise ValueError("arguments and variables cannot hold a NUL")
    program = encode_words([str(len(argv)), str(len(variables)), *argv, *variables])
    return b"".join((program, *orders))


def _encode_orders(orders: Iterable[Order]) -> bytes:
    return encode_words(_words(orders))


def _words(orders: Iterable[Order]) -> Iterator[str]:
    return (word for order in orders for word in order)


def encode_words(words: Iterable[str]) -> bytes:
    """Return the words as the launcher reads them, each with a NUL at its end."""
    return b"".join(os.fsencode(word) + b"\0" for word in words)
