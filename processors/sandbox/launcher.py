"""Compilation and control of the launcher, a small static program (launcher.c)."""

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
from topics.request.limits import RunLimits

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
"""Files and folders below /proc that reveal facts of the host, or act on it."""
STACK_BYTES = 8 << 20
"""Soft limit on a program's stack, the default of Linux; a program may raise it."""
GRACE_CPU_S = 2
"""Excess of the kernel's limit on CPU time over the submission's, which the worker enforces more exactly."""


def build_launcher(into: Path) -> Path:
    """Compile the launcher into a folder, unless it is there already for this source; return its path.

    Raises:
        SandboxError: the compiler is missing or fails.
    """
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
        built.replace(launcher)  # atomic: other workers see the whole file or none
    return launcher


FIRST_PASSED = 7
"""Number of the first passed descriptor in the launcher; the same as in launcher.c."""


@dataclass(slots=True)
class ChildProcess:
    """Child of this process that the launcher forked for it (CLONE_PARENT)."""

    pid: int
    wait_status: int | None = None
    """Wait status, as of waitpid; None before `wait`."""

    def wait(self) -> int:
        """Reap the process and return its wait status; block until it ends."""
        if self.wait_status is None:
            self.wait_status = os.waitpid(self.pid, 0)[1]
        return self.wait_status

    def kill(self) -> None:
        """Send SIGKILL, unless the process was reaped: another process may have its id by then."""
        if self.wait_status is None:
            os.kill(self.pid, signal.SIGKILL)


FORK_S = 5.0
"""Timeout of a fork, which takes a millisecond. It blocks the event loop, so it is less than
`lease_timeout_s`."""


class LauncherServer:
    """Launcher process that forks a child for each stage; it ends with the thread that started it."""

    def __init__(self, program: Path) -> None:
        """Start the launcher.

        Raises:
            SandboxError: it cannot be executed.
        """
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

    def fork(self, argv: Sequence[str], descriptors: Sequence[int]) -> ChildProcess:
        """Make a child of this process through the launcher, which is started again if it has ended.

        The first three descriptors become the child's standard ones, the others are numbered from
        FIRST_PASSED on.

        Raises:
            OSError: the kernel refuses the fork, or the launcher has ended or does not answer.
            SandboxError: the launcher cannot be started again.
        """
        if self._process.poll() is not None:  # killed
            self._socket.close()
            self._start()
        try:
            socket.send_fds(self._socket, [_words(argv)], descriptors)
            answer = int.from_bytes(self._socket.recv(4), sys.byteorder, signed=True)
        except TimeoutError:  # the launcher was stopped by a signal: the next fork starts a new one
            self._process.kill()
            self._process.wait()
            raise
        if answer <= 0:
            raise OSError(-answer, os.strerror(-answer) if answer else "the launcher has ended")
        return ChildProcess(answer)

    def close(self) -> None:
        """End the launcher; its children continue to run."""
        self._process.kill()
        self._process.wait()
        self._socket.close()


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers, in the launcher, of its descriptors beyond standard input, output and the report."""

    stderr: int
    """Standard error of the program."""
    groups: Sequence[int]
    """Files of control groups to write "0" to."""
    passed: Sequence[int] = ()
    """Further descriptors, such as the system call filter."""


@dataclass(frozen=True, slots=True)
class Launched:
    """Launcher that was started, and the read ends of its pipes."""

    process: ChildProcess
    stdout: int
    stderr: int
    report: int

    def abandon(self) -> None:
        """Kill and reap the launcher and close the pipes, if it cannot be watched."""
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
    """Start the launcher.

    Args:
        server: the process that forks.
        argv: arguments of the launcher; the number of the descriptor with the orders is added.
        orders: function that encodes the orders for the numbers of descriptors in the launcher.
        stdin: standard input of the program.
        groups: files of control groups that the program joins.
        passed: further descriptors for the launcher, numbered from FIRST_PASSED on.
        owner: user id that owns the program's pipes, so that the program can open /dev/stdout.

    Raises:
        SandboxError: the launcher cannot be started.
    """
    numbers = itertools.count(FIRST_PASSED)
    passed_as = [next(numbers) for _ in passed]
    numbered = Descriptors(next(numbers), [next(numbers) for _ in groups], passed_as)
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            ends = [_pipe(ours, theirs) for _ in range(3)]
            (stdout, stdout_end), (stderr, stderr_end), (report, report_end) = ends
            os.fchown(stdout_end, owner, owner)
            os.fchown(stderr_end, owner, owner)
            joined = [_kept(theirs, os.open(group, os.O_WRONLY | os.O_CLOEXEC)) for group in groups]
            memory = _kept(theirs, sealed_memory(orders(numbered)))
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
    """Return the encoded orders for the launcher that becomes pid 1 of a sandbox.

    The orders `root` come first. The system call filter and the gate are the last two passed descriptors.

    Raises:
        ValueError: `argv` is empty, or an argument or a variable has a NUL.
    """
    *_, seccomp, gate = descriptors.passed
    of_this = [("seccomp", str(seccomp)), ("gate", str(gate)), *_orders_for(descriptors)]
    return _encode(argv, DEFAULT_ENV | dict(env), root, of_this, always=_orders_of(limits))


@lru_cache(maxsize=64)
def _orders_of(limits: RunLimits) -> bytes:
    shared = f"size={limits.box_bytes},nr_inodes={limits.box_files + 1},mode=1777"
    cpu_s = int(limits.cpu_time_s) + GRACE_CPU_S
    # Limits that the control group lacks, and a second limit on CPU time in case the worker is too busy to
    # check.
    rlimits = (
        (resource.RLIMIT_FSIZE, limits.file_size_bytes, limits.file_size_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (
            resource.RLIMIT_CORE,
            1,
            1,
        ),  # with 1, unlike 0, the kernel does not start the host's core dump handler either
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
    """Return the encoded orders for `launcher bounded`.

    Raises:
        ValueError: `argv` is empty, or an argument or a variable has a NUL.
    """
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
    """Encode the program, the orders `before`, the encoded orders `always` and the orders `after`."""
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
