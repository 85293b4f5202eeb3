"""Compilation and control of the launcher, a small static program (launcher.c)."""

import hashlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from processors.sandbox.descriptors import sealed_memory
from processors.sandbox.model import SandboxError
from processors.sandbox.mounts import clone_tree
from processors.sandbox.orders import Positions

SOURCE = Path(__file__).with_name("launcher.c")
_ORDERS, _PERMISSION = b"orders", b"1"
"""Messages to a launcher; the first comes with descriptors."""
_FIRST_FURTHER = 4
"""Position of the first further descriptor that comes with orders, after these, standard input, output and
error; see launcher.c."""
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

    def has_ended(self) -> bool:
        """Return whether the process has ended, and reap it if so."""
        if self.wait_status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.wait_status = status if pid else None
        return self.wait_status is not None

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

    def fork(self, command: bytes, channel: int, report: int) -> ChildProcess:
        """Make a child of this process through the launcher, which is started again if it has ended.

        The descriptors `channel` and `report` become 0 and 2 of the child.

        Raises:
            OSError: the kernel refuses the fork, or the launcher has ended or does not answer.
            SandboxError: the launcher cannot be started again.
        """
        if self._process.poll() is not None:  # killed
            self._socket.close()
            self._start()
        try:
            socket.send_fds(self._socket, [command], [channel, report])
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
class WaitingLauncher:
    """Launcher that was forked and gets its orders later; meanwhile that of a sandbox makes its root."""

    process: ChildProcess
    channel: socket.socket
    report: int
    """Read end of the pipe for its report."""

    def close(self) -> None:
        """Close the channel, with which a launcher without orders ends; the caller reaps it."""
        self.channel.close()
        os.close(self.report)


@dataclass(frozen=True, slots=True)
class Launched:
    """Launcher that has its orders, and the read ends of its pipes."""

    process: ChildProcess
    channel: socket.socket
    stdout: int
    stderr: int
    report: int

    def allow_start(self) -> None:
        """Permit the program to run; without effect if the launcher has ended."""
        with suppress(OSError):
            self.channel.send(_PERMISSION, socket.MSG_NOSIGNAL)

    def abandon(self) -> None:
        """Kill and reap the launcher and close the pipes, if it cannot be watched."""
        self.channel.close()
        self.process.kill()
        self.process.wait()
        for descriptor in (self.stdout, self.stderr, self.report):
            os.close(descriptor)


def start(server: LauncherServer, command: bytes) -> WaitingLauncher:
    """Start a launcher, which waits for its orders.

    Raises:
        SandboxError: it cannot be started.
    """
    with ExitStack() as ours:
        try:
            channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.callback(channel.close)
            with theirs, ExitStack() as closed:
                report, report_end = _pipe(ours, closed)
                process = server.fork(command, theirs.fileno(), report_end)
        except OSError as error:
            raise SandboxError(f"the launcher cannot be started: {error}") from error
        ours.pop_all()
    return WaitingLauncher(process, channel, report)


def launch(
    waiting: WaitingLauncher,
    orders: Callable[[Positions], bytes],
    *,
    stdin: bytes,
    groups: Sequence[Path],
    trees: Sequence[Path] = (),
    seccomp: int | None = None,
    owner: int = 0,
) -> Launched:
    """Give a launcher its orders; after an error it is killed.

    Args:
        waiting: the launcher.
        orders: function that encodes the orders, for the positions of descriptors among those that are sent.
        stdin: standard input of the program.
        groups: files of control groups that the program joins.
        trees: folders and files of the host that are mounted in the sandbox.
        seccomp: system call filter; None for a trusted command.
        owner: user id that owns the program's pipes, so that the program can open /dev/stdout.

    Raises:
        SandboxError: the launcher has ended, or the kernel refuses a descriptor.
    """
    positions = itertools.count(_FIRST_FURTHER)
    filters = [] if seccomp is None else [seccomp]
    at = [[next(positions) for _ in kind] for kind in (groups, trees, filters)]
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            (stdout, stdout_end), (stderr, stderr_end) = (_pipe(ours, theirs) for _ in range(2))
            os.fchown(stdout_end, owner, owner)
            os.fchown(stderr_end, owner, owner)
            joined = [_kept(theirs, os.open(group, os.O_WRONLY | os.O_CLOEXEC)) for group in groups]
            cloned = [_kept(theirs, clone_tree(tree)) for tree in trees]
            memory = _kept(theirs, sealed_memory(orders(Positions(*at))))
            stdin_file = _kept(theirs, sealed_memory(stdin))
            descriptors = [memory, stdin_file, stdout_end, stderr_end, *joined, *cloned, *filters]
            socket.send_fds(waiting.channel, [_ORDERS], descriptors, socket.MSG_NOSIGNAL)
        except BaseException as error:
            waiting.close()
            waiting.process.kill()
            waiting.process.wait()
            if isinstance(error, OSError):
                raise SandboxError(f"the launcher does not take its orders: {error}") from error
            raise
        ours.pop_all()
    return Launched(waiting.process, waiting.channel, stdout, stderr, waiting.report)


def _kept(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    return _kept(ours, reading), _kept(theirs, writing)
