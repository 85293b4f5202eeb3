"""Compilation and control of the launcher, a small static program (launcher.c)."""

import hashlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from processors.sandbox.descriptors import sealed_memory
from processors.sandbox.model import SandboxError
from processors.sandbox.orders import Descriptors, encode_words

SOURCE = Path(__file__).with_name("launcher.c")
COMPILE = ("gcc", "-std=gnu17", "-O2", "-static", "-Wall", "-Wextra", "-Werror")


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
            socket.send_fds(self._socket, [encode_words(argv)], descriptors)
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
