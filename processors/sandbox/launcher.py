"""The launcher, a small static program (launcher.c): how it is built, and how it is told what to do."""

import hashlib
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from processors.sandbox.descriptors import sealed_memory
from processors.sandbox.model import SandboxError
from topics.limits import RunLimits

Order = tuple[str, ...]
"""A step for the launcher, see `launcher.c`."""

SOURCE = Path(__file__).with_name("launcher.c")
COMPILE = ("gcc", "-std=gnu17", "-O2", "-static", "-Wall", "-Wextra", "-Werror")
DEFAULT_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/box", "LANG": "C.UTF-8"}
_MASKED = """
acpi asound bus cmdline fs interrupts irq kcore key-users keys latency_stats locks pressure sched_debug scsi
sysrq-trigger timer_list timer_stats
"""
MASKED = _MASKED.split()
"""Below /proc: what tells of the host, or would act on it."""
STACK_BYTES = 8 << 20
GRACE_CPU_S = 2


def build_launcher(into: Path) -> Path:
    """Compile the launcher below `into`, unless this very source is there already; raises SandboxError."""
    version = hashlib.sha256(SOURCE.read_bytes() + " ".join(COMPILE).encode()).hexdigest()[:16]
    launcher = into / f"launcher-{version}"
    if launcher.exists():
        return launcher
    into.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=into) as folder:
        built = Path(folder, "launcher")
        try:
            subprocess.run([*COMPILE, "-o", built, SOURCE], check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise SandboxError("gcc is missing: apt-get install gcc libc6-dev") from error
        except subprocess.CalledProcessError as error:
            raise SandboxError(f"the launcher does not compile: {error.stderr}") from error
        built.chmod(0o755)
        built.replace(launcher)  # others see the whole file or none
    return launcher


FIRST_PASSED = 7
"""As in launcher.c."""


@dataclass(slots=True)
class Process:
    """A child of ours that we did not fork ourselves."""

    pid: int
    wait_status: int | None = None
    """None until it was waited for."""

    def wait(self) -> int:
        """Reap it; returns its wait status."""
        if self.wait_status is None:
            self.wait_status = os.waitpid(self.pid, 0)[1]
        return self.wait_status

    def kill(self) -> None:
        """End it, unless it was reaped: its number may be another's by now."""
        if self.wait_status is None:
            os.kill(self.pid, signal.SIGKILL)


FORK_S = 5.0
"""A fork takes a millisecond. A worker that waits for it does nothing else, so it is less than a lease may be
silent."""


class LauncherServer:
    """The launcher, executed once, which forks from then on; it dies with the thread that started it."""

    def __init__(self, program: Path) -> None:
        """Raises SandboxError."""
        self._program = program
        self._start()

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(FORK_S)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [self._program, "serve", str(os.getpid()), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:
                self._socket.close()
                raise SandboxError(f"the launcher cannot be started: {error}") from error

    def fork(self, argv: Sequence[str], descriptors: Sequence[int]) -> Process:
        """Have a child made of this process; raises OSError, SandboxError.

        The first three of its descriptors are its standard ones, the others count from FIRST_PASSED on.
        """
        if self._process.poll() is not None:  # killed
            self._socket.close()
            self._start()
        try:
            socket.send_fds(self._socket, [_words(argv)], descriptors)
            answer = int.from_bytes(self._socket.recv(4), sys.byteorder, signed=True)
        except TimeoutError:  # somebody stopped it: the next fork is another's
            self._process.kill()
            self._process.wait()
            raise
        if answer <= 0:
            raise OSError(-answer, os.strerror(-answer) if answer else "the launcher is dead")
        return Process(answer)

    def close(self) -> None:
        """End it; what it made goes on."""
        self._process.kill()
        self._process.wait()
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Open files that the launcher gets beside standard input, output and the report, as it numbers them."""

    stderr: int
    """The program's."""
    groups: Sequence[int]
    """Files of control groups to write "0" to."""
    passed: Sequence[int] = ()
    """What else it was given."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A launcher that was started, and the reading ends of its pipes."""

    process: Process
    stdout: int
    stderr: int
    report: int

    def abandon(self) -> None:
        """End it again; for when nobody can watch it."""
        self.process.kill()
        self.process.wait()
        for descriptor in (self.stdout, self.stderr, self.report):
            os.close(descriptor)


def launch(
    server: LauncherServer,
    argv: Sequence[str],
    orders: Callable[[Descriptors], bytes],
    *,
    stdin: bytes,
    groups: Sequence[Path],
    passed: Sequence[int] = (),
    owner: int = 0,
) -> Launched:
    """Start the launcher with `argv` and, as last argument, its orders' descriptor; raises SandboxError.

    `groups` are the files of control groups to join, `passed` more descriptors that the launcher needs, which
    there count from FIRST_PASSED on, `owner` the user to whom the program's pipes belong, so that it can open
    /dev/stdout.
    """
    numbers = itertools.count(FIRST_PASSED)
    passed_as = [next(numbers) for _ in passed]
    told = Descriptors(next(numbers), [next(numbers) for _ in groups], passed_as)
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            ends = [_pipe(ours, theirs) for _ in range(3)]
            (stdout, stdout_end), (stderr, stderr_end), (report, report_end) = ends
            os.fchown(stdout_end, owner, owner)
            os.fchown(stderr_end, owner, owner)
            joined = [_kept(theirs, os.open(group, os.O_WRONLY | os.O_CLOEXEC)) for group in groups]
            memory = _kept(theirs, sealed_memory(orders(told)))
            stdin_file = _kept(theirs, sealed_memory(stdin))
            process = server.fork(
                [*argv, str(next(numbers))],
                [stdin_file, stdout_end, report_end, *passed, stderr_end, *joined, memory],
            )
        except OSError as error:
            raise SandboxError(f"the launcher cannot be started: {error}") from error
        ours.pop_all()
    return Launched(process, stdout, stderr, report)


def _kept(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    return _kept(ours, reading), _kept(theirs, writing)


def orders_for_box(
    argv: Sequence[str],
    env: Mapping[str, str],
    limits: RunLimits,
    descriptors: Descriptors,
    root: Sequence[Order],
) -> bytes:
    """Return the orders for the launcher that becomes pid 1, beginning with those that make the root.

    The filter for system calls and the gate are the last two descriptors that were passed.
    """
    *_, seccomp, gate = descriptors.passed
    of_this = [("seccomp", str(seccomp)), ("gate", str(gate)), *_orders_for(descriptors)]
    return _encode(argv, DEFAULT_ENV | dict(env), root, of_this, always=_orders_of(limits))


@lru_cache(maxsize=64)
def _orders_of(limits: RunLimits) -> bytes:
    shared = f"size={limits.box_bytes},nr_inodes={limits.box_files + 1},mode=1777"
    cpu_s = int(limits.cpu_time_s) + GRACE_CPU_S
    # What the control group does not limit; and CPU time again, should the worker be too busy to look.
    rlimits = (
        (resource.RLIMIT_FSIZE, limits.file_size_bytes, limits.file_size_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_CORE, 1, 1),  # 1, not 0, also keeps a host's core dump handler from being started
        (resource.RLIMIT_MEMLOCK, 64 << 10, 64 << 10),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_STACK, STACK_BYTES, resource.RLIM_INFINITY),
    )
    orders: list[Order] = [
        *(("tmpfs", path, shared) for path in ("/tmp", "/dev/shm")),  # noqa: S108
        ("restrict-proc", "/proc"),
        *(("mask", f"/proc/{name}") for name in MASKED),
        *(("rlimit", *map(str, rlimit)) for rlimit in rlimits),
    ]
    return _words(word for order in orders for word in order)


def orders_for_host(
    argv: Sequence[str], env: Mapping[str, str], descriptors: Descriptors, directory: Path
) -> bytes:
    """Return the orders for `launcher bounded`."""
    return _encode(argv, env, [("directory", str(directory))], _orders_for(descriptors))


def _orders_for(descriptors: Descriptors) -> list[Order]:
    return [("stderr", str(descriptors.stderr)), *(("join", str(group)) for group in descriptors.groups)]


def _encode(
    argv: Sequence[str],
    env: Mapping[str, str],
    before: Sequence[Order],
    after: Sequence[Order],
    always: bytes = b"",
) -> bytes:
    """The orders that are `always` the same stand between those `before` and `after`."""
    variables = [f"{name}={value}" for name, value in env.items()]
    if not argv:
        raise ValueError("there is no program to run")
    if any("\0" in text for text in (*argv, *variables)):
        raise ValueError("arguments and variables cannot hold a NUL")
    program = _words([str(len(argv)), str(len(variables)), *argv, *variables])
    first, last = (_words(word for order in orders for word in order) for orders in (before, after))
    return program + first + always + last


def _words(words: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in words)
