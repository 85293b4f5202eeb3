"""CPU time of the whole machine for a run, with that of kernel threads."""

import asyncio
import ctypes
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from processors.sandbox import cgroups
from processors.sandbox.cgroups import Cgroups, GroupLimits
from processors.sandbox.seccomp import make_filter
from tests.benchmarks.measuring import Samples
from topics.request.limits import MiB

RUNS = 60
"""Runs of a block: the kernel counts CPU time in ticks of 10 ms."""
SETTLE_S = 0.1
"""Time after a block in which the kernel takes down what the block left. It belongs to the block."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PR_SET_NO_NEW_PRIVS, _SYS_SECCOMP = 38, 317

Run = Callable[[], Awaitable[object]]


async def blocks(variants: Mapping[str, Run], rounds: int) -> Samples:
    """Return CPU seconds of the machine for a run of each variant, beyond idling, a sample for each block."""
    samples: Samples = {name: [] for name in variants}
    for _ in range(rounds):
        idle_s = await _busy_s(asyncio.sleep(0.5)) / 0.5
        for name, run in variants.items():
            started = time.perf_counter()
            spent_s = await _busy_s(_block(run))
            samples[name].append((spent_s - idle_s * (time.perf_counter() - started)) / RUNS)
    return samples


async def _block(run: Run) -> None:
    for _ in range(RUNS):
        await run()
    await asyncio.sleep(SETTLE_S)


async def _busy_s(work: Awaitable[object]) -> float:
    before = _busy_ticks()
    await work
    return (_busy_ticks() - before) * _TICK_S


def _busy_ticks() -> int:
    """Return the ticks that all CPUs have spent on anything, see proc(5)."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return user + nice + system + irq + softirq


def layers() -> Mapping[str, Run]:
    """Return what a sandbox consists of, each with all before it that `unshare` makes, then parts apart."""
    spawned: Sequence[tuple[str, Sequence[str]]] = (
        ("unshare, without a namespace", ()),
        ("user namespace", ("--user",)),
        ("+ mount namespace", ("--user", "--mount")),
        ("+ pid namespace and a process", ("--user", "--mount", "--pid", "--fork")),
        ("+ IPC, UTS", ("--user", "--mount", "--pid", "--fork", "--ipc", "--uts")),
        ("+ network namespace", ("--user", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net")),
    )
    return {name: partial(spawn, ["unshare", *options, "true"]) for name, options in spawned}


async def spawn(argv: Sequence[str]) -> None:
    """Run a command to its end."""
    subprocess.run(argv, check=True)  # noqa: ASYNC221 - nothing else runs


@contextmanager
def control_groups() -> Iterator[Run]:
    """Yield a run that makes, limits and removes the control groups of a stage."""
    parent = cgroups.locate(f"envicutor-bench-{os.getpid()}")
    numbers = count()
    parent.make(GroupLimits(64 * MiB, 64))
    try:
        yield partial(_use_group, parent, numbers)
    finally:
        for folder in parent.paths()[:-1]:
            folder.rmdir()


async def _use_group(parent: Cgroups, numbers: Iterator[int]) -> None:
    group = parent.create(f"stage-{next(numbers)}")
    group.limit(GroupLimits(64 * MiB, 64, 1.0))
    group.remove()


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


async def fork() -> None:
    """Fork this process, as `install_filter` does."""
    _in_child(lambda: None)


async def install_filter(program: bytes) -> None:
    """Install a system call filter in a fork of this process."""
    _in_child(lambda: _install(program))


def _in_child(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    os.waitpid(child, 0)


def _install(program: bytes) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    instructions = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // 8, ctypes.addressof(instructions))
    libc.syscall(_SYS_SECCOMP, 1, 0, ctypes.byref(filter_))


def read_filter() -> bytes:
    """Return the program of the sandbox's filter."""
    with os.fdopen(make_filter(), "rb") as file:
        return file.read()
